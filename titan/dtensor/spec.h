// What is known of a DTensor without its data: mesh, placements, global sizes and strides, dtype. Specs are interned:
// two equal ones of a mesh are one object, so that comparing them and finding plans by them is cheap. They live as
// long as their mesh.
#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>
#include <vector>

#include "titan/dtensor/layout.h"
#include "titan/dtensor/placement.h"

namespace titan::dtensor {

class MeshState;

struct Spec {
  MeshState* mesh = nullptr;
  Placements placements;                // one per axis, dimensions counted from 0
  std::vector<int64_t> sizes, strides;  // global
  at::ScalarType dtype = at::kFloat;

  // What follows from these.
  uint64_t id = 0;                   // of this spec alone, in the whole process
  std::vector<int64_t> local_sizes;  // on this rank
  bool has_partial = false;
  bool is_replicated = true;  // on every axis

  int64_t dim() const { return static_cast<int64_t>(sizes.size()); }
  int64_t numel() const;
  // This rank's part of a dimension.
  Segments segments(int64_t dim) const;
};

// The spec of these. Placements are checked: c10::ValueError if their number is not the mesh's, or a dimension is out
// of range.
const Spec* intern_spec(MeshState& mesh, Placements placements, at::IntArrayRef sizes, at::IntArrayRef strides,
                        at::ScalarType dtype);
// The same tensor placed otherwise.
const Spec* with_placements(const Spec& spec, const Placements& placements);

// "f32[8, 16] (S(0), R) on (dp 2, tp 4)".
std::string to_string(const Spec& spec);

}  // namespace titan::dtensor
