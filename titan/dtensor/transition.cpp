#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>

#include "titan/dtensor/mesh_state.h"
#include "titan/dtensor/redistribute.h"

namespace titan::dtensor {
namespace {

using distributed::Pending;
using distributed::PendingTensors;

Pending ready(at::Tensor tensor) { return Pending(PendingTensors({std::move(tensor)})); }

std::vector<int64_t> sizes_of(const std::vector<Segments>& parts) {
  std::vector<int64_t> sizes;
  for (const Segments& part : parts) sizes.push_back(total_size(part));
  return sizes;
}

bool all_equal(const std::vector<int64_t>& sizes) {
  return std::adjacent_find(sizes.begin(), sizes.end(), std::not_equal_to<>()) == sizes.end();
}

// Whether the parts, one after another, are in ascending order.
bool in_order(const std::vector<Segments>& parts) {
  int64_t end = 0;
  for (const Segments& part : parts) {
    for (const Segment& segment : part) {
      if (segment.offset < end) return false;
      end = segment.offset + segment.size;
    }
  }
  return true;
}

at::Tensor take(const at::Tensor& x, int64_t dim, const Segments& runs) {
  if (runs.empty()) return x.narrow(dim, 0, 0);
  if (runs.size() == 1) return x.narrow(dim, runs.front().offset, runs.front().size);
  std::vector<at::Tensor> pieces;
  for (const Segment& run : runs) pieces.push_back(x.narrow(dim, run.offset, run.size));
  return at::cat(pieces, dim);
}

// parts[i] has the indices gathered[i] of `dim`; all of them, in ascending order.
at::Tensor join(const std::vector<at::Tensor>& parts, const std::vector<Segments>& gathered, int64_t dim) {
  if (in_order(gathered)) return at::cat(parts, dim);
  struct Piece {
    int64_t offset;
    at::Tensor tensor;
  };
  std::vector<Piece> pieces;
  for (size_t i = 0; i < parts.size(); ++i) {
    int64_t position = 0;
    for (const Segment& segment : gathered[i]) {
      pieces.push_back({segment.offset, parts[i].narrow(dim, position, segment.size)});
      position += segment.size;
    }
  }
  std::sort(pieces.begin(), pieces.end(), [](const Piece& a, const Piece& b) { return a.offset < b.offset; });
  std::vector<at::Tensor> ordered;
  for (Piece& piece : pieces) ordered.push_back(std::move(piece.tensor));
  return at::cat(ordered, dim);
}

Pending gather(const at::Tensor& local, const Transition& transition, distributed::ProcessGroup& group) {
  const int64_t dim = transition.before().dim;
  const std::vector<int64_t> sizes = sizes_of(transition.gathered);
  const bool even = all_equal(sizes);
  const auto start = [&] {
    return even ? distributed::all_gather(local, group, dim) : distributed::all_gather_uneven(local, sizes, group, dim);
  };
  if (in_order(transition.gathered)) return start();
  const at::Tensor parts = start().wait();
  return ready(join(parts.split_with_sizes(sizes, dim), transition.gathered, dim));
}

Pending reduce_scatter(const at::Tensor& local, const Transition& transition, distributed::ProcessGroup& group) {
  const int64_t dim = transition.after().dim;
  const std::vector<int64_t> sizes = sizes_of(transition.split);
  at::Tensor input = local;
  if (!in_order(transition.split)) {
    std::vector<at::Tensor> parts;
    for (const Segments& part : transition.split) parts.push_back(take(local, dim, part));
    input = at::cat(parts, dim);
  }
  return distributed::reduce_scatter_uneven(input, sizes, transition.before().reduce_op, group, dim);
}

// Blocks go as one row of elements each: rank i gets its part of `to_dim` of what is here of `from_dim`.
Pending exchange(const at::Tensor& local, const Transition& transition, distributed::ProcessGroup& group) {
  const int64_t from_dim = transition.before().dim, to_dim = transition.after().dim;
  std::vector<at::Tensor> rows;
  std::vector<int64_t> sent, received;
  for (const Segments& part : transition.split) {
    rows.push_back(take(local, to_dim, part).reshape({-1}));
    sent.push_back(rows.back().numel());
  }
  std::vector<std::vector<int64_t>> shapes;
  for (const Segments& part : transition.gathered) {
    shapes.push_back(transition.to->local_sizes);
    shapes.back()[from_dim] = total_size(part);
    received.push_back(c10::multiply_integers(shapes.back()));
  }
  const at::Tensor row = distributed::all_to_all(at::cat(rows), received, sent, group).wait();
  std::vector<at::Tensor> parts = row.split_with_sizes(received);
  for (size_t i = 0; i < parts.size(); ++i) parts[i] = parts[i].view(shapes[i]);
  return ready(join(parts, transition.gathered, from_dim));
}

// One rank keeps the sum, the others have nothing to add. An average or an extremum of equal tensors is that tensor.
at::Tensor as_partial(const at::Tensor& local, const Transition& transition) {
  const bool keeps = transition.after().reduce_op != distributed::ReduceOp::kSum ||
                     transition.from->mesh->coordinates[transition.axis] == 0;
  return keeps ? local : at::zeros_like(local);
}

}  // namespace

Transition make_transition(int64_t axis, const Spec& from, const Spec& to) {
  Transition transition{.axis = axis, .from = &from, .to = &to};
  const MeshState& mesh = *from.mesh;
  std::vector<int64_t> coordinates = mesh.coordinates;
  const Placement &before = transition.before(), &after = transition.after();
  for (int64_t rank = 0; rank < mesh.sizes[axis]; ++rank) {
    coordinates[axis] = rank;
    if (before.is_shard()) {
      transition.gathered.push_back(
          local_segments(from.placements, mesh.sizes, coordinates, before.dim, from.sizes[before.dim]));
    }
    if (after.is_shard()) {
      const Segments wanted = local_segments(to.placements, mesh.sizes, coordinates, after.dim, to.sizes[after.dim]);
      transition.split.push_back(positions(from.segments(after.dim), wanted));
    }
  }
  return transition;
}

Pending start_transition(const at::Tensor& local, const Transition& transition) {
  MeshState& mesh = *transition.from->mesh;
  distributed::ProcessGroup& group = *mesh.groups[transition.axis];
  const Placement &before = transition.before(), &after = transition.after();
  if (before.is_shard()) {
    return after.is_shard() ? exchange(local, transition, group) : gather(local, transition, group);
  }
  if (before.is_partial()) {
    return after.is_shard() ? reduce_scatter(local, transition, group)
                            : distributed::all_reduce(local, before.reduce_op, group);
  }
  if (after.is_shard()) return ready(take(local, after.dim, transition.split[mesh.coordinates[transition.axis]]));
  return ready(as_partial(local, transition));
}

}  // namespace titan::dtensor
