// The meshes that operators are tested on: 2 ranks, 3 (where shards are uneven and some empty), 2 x 2.
#pragma once

#include <functional>

#include "titan/dtensor/mesh.h"

namespace titan::test {

// Runs `body` on every rank of each of them. Ranks are threads.
void on_meshes(const std::function<void(const dtensor::Mesh&)>& body);

// On one of them; sizes[i] ranks on the i-th axis, called "a", "b", ...
void on_mesh(const std::vector<int64_t>& sizes, const std::function<void(const dtensor::Mesh&)>& body);

}  // namespace titan::test
