// What a Mesh shares among its copies. Private to titan/dtensor.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "titan/distributed/device_mesh.h"
#include "titan/dtensor/mesh.h"
#include "titan/dtensor/plan.h"
#include "titan/dtensor/redistribute.h"
#include "titan/dtensor/spec.h"

namespace titan::dtensor {

// A key of a cache: words that are equal if and only if what they stand for is.
using Words = std::vector<uint64_t>;
using WordsView = std::span<const uint64_t>;

struct WordsHash {
  using is_transparent = void;
  size_t operator()(WordsView words) const {
    uint64_t hash = 0x9E3779B97F4A7C15;
    for (const uint64_t word : words) {
      hash = (hash ^ word) * 0xD6E8FEB86659FD93;
      hash ^= hash >> 32;
    }
    return hash;
  }
};
struct WordsEqual {
  using is_transparent = void;
  bool operator()(WordsView a, WordsView b) const { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }
};

template <class Value>
using WordsMap = std::unordered_map<Words, Value, WordsHash, WordsEqual>;

// Used by the thread of the rank and by autograd's threads for it, hence the mutex.
class MeshState : public std::enable_shared_from_this<MeshState> {
 public:
  explicit MeshState(const distributed::DeviceMesh& mesh);

  const distributed::DeviceMesh device_mesh;
  std::vector<std::string> names;
  std::vector<int64_t> sizes, coordinates;  // by axis
  std::vector<std::shared_ptr<distributed::ProcessGroup>> groups;
  std::shared_ptr<distributed::ProcessGroup> whole_group;

  std::mutex mutex;  // guards what follows; nodes of these maps stay where they are
  WordsMap<std::unique_ptr<Spec>> specs;
  WordsMap<std::unique_ptr<RedistributePlan>> redistributions;
  WordsMap<std::shared_ptr<const Plan>> plans;
  RandomState random;
};

}  // namespace titan::dtensor
