#include "titan/dtensor/spec.h"

#include <c10/util/Exception.h>
#include <c10/util/SmallVector.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <atomic>
#include <mutex>

#include "titan/dtensor/mesh_state.h"

namespace titan::dtensor {
namespace {

uint64_t next_id() {
  static std::atomic<uint64_t> next{1};  // of the process, so that specs of two meshes never share one
  return next++;
}

void check_and_normalize(const MeshState& mesh, Placements& placements, int64_t dim) {
  TORCH_CHECK_VALUE(placements.size() == mesh.sizes.size(), "placements: expected one for each axis of the mesh (",
                    mesh.sizes.size(), "), got ", to_string(placements));
  for (Placement& placement : placements) {
    if (!placement.is_shard()) continue;
    TORCH_CHECK_VALUE(placement.dim >= -dim && placement.dim < dim, "placements: expected a dimension of a ", dim,
                      "-dimensional tensor, got ", to_string(placement));
    if (placement.dim < 0) placement.dim += static_cast<int32_t>(dim);
  }
}

}  // namespace

int64_t Spec::numel() const { return c10::multiply_integers(sizes); }

Segments Spec::segments(int64_t dim) const {
  return local_segments(placements, mesh->sizes, mesh->coordinates, dim, sizes[dim]);
}

const Spec* intern_spec(MeshState& mesh, Placements placements, at::IntArrayRef sizes, at::IntArrayRef strides,
                        at::ScalarType dtype) {
  const auto dim = static_cast<int64_t>(sizes.size());
  check_and_normalize(mesh, placements, dim);
  c10::SmallVector<uint64_t, 24> key{static_cast<uint64_t>(dtype)};
  for (const Placement& placement : placements) key.push_back(placement.packed());
  for (const int64_t size : sizes) key.push_back(static_cast<uint64_t>(size));
  for (const int64_t stride : strides) key.push_back(static_cast<uint64_t>(stride));
  const WordsView words(key.data(), key.size());

  const std::scoped_lock lock(mesh.mutex);
  const auto found = mesh.specs.find(words);
  if (found != mesh.specs.end()) return found->second.get();

  auto spec = std::make_unique<Spec>();
  spec->mesh = &mesh;
  spec->placements = std::move(placements);
  spec->sizes = sizes.vec();
  spec->strides = strides.vec();
  spec->dtype = dtype;
  spec->id = next_id();
  for (int64_t d = 0; d < dim; ++d) spec->local_sizes.push_back(total_size(spec->segments(d)));
  for (const Placement& placement : spec->placements) {
    spec->has_partial |= placement.is_partial();
    spec->is_replicated &= placement.is_replicate();
  }
  return mesh.specs.emplace(Words(words.begin(), words.end()), std::move(spec)).first->second.get();
}

const Spec* with_placements(const Spec& spec, const Placements& placements) {
  if (placements == spec.placements) return &spec;
  return intern_spec(*spec.mesh, placements, spec.sizes, spec.strides, spec.dtype);
}

std::string to_string(const Spec& spec) {
  return fmt::format("{}[{}] {} on {}", c10::toString(spec.dtype), fmt::join(spec.sizes, ", "),
                     to_string(spec.placements), Mesh(spec.mesh->shared_from_this()).name());
}

}  // namespace titan::dtensor
