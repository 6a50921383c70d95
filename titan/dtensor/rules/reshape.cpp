#include "titan/dtensor/rules/reshape.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <optional>

#include "titan/dtensor/mesh_state.h"

namespace titan::dtensor {
namespace {

struct Group {
  int64_t in_begin, in_end, out_begin, out_end;  // dimensions
};

std::vector<Group> groups_of(at::IntArrayRef in, at::IntArrayRef out) {
  const auto num_in = static_cast<int64_t>(in.size()), num_out = static_cast<int64_t>(out.size());
  std::vector<Group> groups;
  int64_t i = 0, j = 0;
  while (i < num_in || j < num_out) {
    Group group{i, i, j, j};
    int64_t in_numel = 1, out_numel = 1;
    if (i < num_in) in_numel = in[group.in_end++];
    if (j < num_out) out_numel = out[group.out_end++];
    while (in_numel != out_numel) {
      if ((in_numel < out_numel && group.in_end < num_in) || group.out_end == num_out) {
        in_numel *= in[group.in_end++];
      } else {
        out_numel *= out[group.out_end++];
      }
    }
    // Dimensions of size 1 that follow belong to no other group.
    while (group.in_end < num_in && in[group.in_end] == 1 && (j + 1 > num_out || group.out_end == num_out))
      ++group.in_end;
    while (group.out_end < num_out && out[group.out_end] == 1 && group.in_end == num_in) ++group.out_end;
    groups.push_back(group);
    i = group.in_end;
    j = group.out_end;
  }
  return groups;
}

// The elements of a group of dimensions that a rank has, numbered row by row.
Segments flat_segments(const MeshState& mesh, const Placements& placements, at::IntArrayRef coordinates,
                       at::IntArrayRef sizes, int64_t begin, int64_t end) {
  Segments flat{{0, 1}};
  for (int64_t dim = begin; dim < end; ++dim) {
    const Segments here = local_segments(placements, mesh.sizes, coordinates, dim, sizes[dim]);
    const bool is_whole = here.size() == 1 && here.front().size == sizes[dim];
    Segments next;
    for (const Segment& run : flat) {
      if (is_whole) {
        next.push_back({run.offset * sizes[dim], run.size * sizes[dim]});
        continue;
      }
      for (int64_t index = run.offset; index < run.offset + run.size; ++index) {
        for (const Segment& part : here) {
          const Segment piece{index * sizes[dim] + part.offset, part.size};
          if (!next.empty() && next.back().offset + next.back().size == piece.offset) {
            next.back().size += piece.size;
          } else {
            next.push_back(piece);
          }
        }
      }
    }
    flat = std::move(next);
  }
  return flat;
}

class Reshaper {
 public:
  Reshaper(const MeshState& mesh, at::IntArrayRef in, at::IntArrayRef out)
      : mesh_(mesh), in_(in), out_(out), groups_(groups_of(in, out)) {}

  // How the result is placed if the operand is placed so; nothing if no placement says that.
  std::optional<Placements> outcome(const Placements& from) const {
    Placements to(from.size());
    for (size_t axis = 0; axis < from.size(); ++axis) {
      if (!from[axis].is_shard()) to[axis] = from[axis];
    }
    for (const Group& group : groups_) {
      std::vector<size_t> axes;
      for (size_t axis = 0; axis < from.size(); ++axis) {
        if (from[axis].is_shard() && from[axis].dim >= group.in_begin && from[axis].dim < group.in_end) {
          axes.push_back(axis);
        }
      }
      if (!axes.empty() && !place(from, to, group, axes, 0)) return std::nullopt;
    }
    return to;
  }

 private:
  // Tries placements of the axes from `next` on.
  bool place(const Placements& from, Placements& to, const Group& group, const std::vector<size_t>& axes,
             size_t next) const {
    if (next == axes.size()) return same_elements(from, to, group, axes);
    const Placement& before = from[axes[next]];
    for (int64_t dim = group.out_begin; dim < group.out_end; ++dim) {
      if (out_[dim] == 1 && group.out_end - group.out_begin > 1) continue;
      for (const int64_t factor : split_factors(from, before, group, dim)) {
        to[axes[next]] = strided_shard(dim, factor);
        if (place(from, to, group, axes, next + 1)) return true;
      }
    }
    to[axes[next]] = replicate();
    return false;
  }

  // How many parts of the result's dimension may have a piece each: 1; as before; one for each local index of the
  // operand's dimensions outside the sharded one; the parts that are left after the result's dimensions outside.
  std::vector<int64_t> split_factors(const Placements& from, const Placement& before, const Group& group,
                                     int64_t out_dim) const {
    std::vector<int64_t> factors{1};
    const auto add = [&](int64_t factor) {
      if (factor > 1 && std::find(factors.begin(), factors.end(), factor) == factors.end()) factors.push_back(factor);
    };
    int64_t rows = before.split_factor;
    for (int64_t dim = group.in_begin; dim < before.dim; ++dim) {
      int64_t num_shards = 1;
      for (size_t axis = 0; axis < from.size(); ++axis) {
        if (from[axis].is_shard(dim)) num_shards *= mesh_.sizes[axis];
      }
      rows *= std::max<int64_t>(in_[dim] / num_shards, 1);
    }
    for (int64_t dim = group.out_begin; dim < out_dim; ++dim) {
      if (out_[dim] > 0 && rows % out_[dim] == 0) rows /= out_[dim];
    }
    add(rows);
    add(before.split_factor);
    return factors;
  }

  bool same_elements(const Placements& from, const Placements& to, const Group& group,
                     const std::vector<size_t>& axes) const {
    std::vector<int64_t> coordinates(mesh_.sizes.size(), 0);
    while (true) {
      if (flat_segments(mesh_, from, coordinates, in_, group.in_begin, group.in_end) !=
          flat_segments(mesh_, to, coordinates, out_, group.out_begin, group.out_end)) {
        return false;
      }
      size_t i = 0;
      while (i < axes.size() && ++coordinates[axes[i]] == mesh_.sizes[axes[i]]) coordinates[axes[i++]] = 0;
      if (i == axes.size()) return true;
    }
  }

  const MeshState& mesh_;
  at::IntArrayRef in_, out_;
  std::vector<Group> groups_;
};

}  // namespace

Sharding reshape(const Call& call) {
  const Operand& self = call.operand("self");
  const Placements& from = self.spec->placements;
  const Reshaper reshaper(*call.mesh, self.sizes(), call.outputs.front().sizes());
  // Every set of sharded axes may be gathered.
  std::optional<Sharding> best;
  double best_cost = 0;
  for (uint64_t gathered = 0; gathered < uint64_t{1} << from.size(); ++gathered) {
    Placements input = from;
    for (size_t axis = 0; axis < from.size(); ++axis) {
      if ((gathered >> axis & 1) != 0) input[axis] = replicate();
    }
    if (gathered != 0 && input == from) continue;
    const std::optional<Placements> output = reshaper.outcome(input);
    if (!output.has_value()) continue;
    const double cost = plan_redistribution(*self.spec, input).cost;
    if (best.has_value() && cost >= best_cost) continue;
    best = Sharding{{input}, {*output}, {}};
    best_cost = cost;
  }
  TORCH_INTERNAL_ASSERT(best.has_value(), "a replicated tensor can always be reshaped");
  return *best;
}

LocalKernel local_reshape(const Call& call, const Placed& placed) {
  return [num_arguments = call.schema.arguments().size(), sizes = placed.outputs.front()->local_sizes](
             const c10::OperatorHandle&, torch::jit::Stack& stack) {
    const auto self = stack.end() - static_cast<int64_t>(num_arguments);
    at::Tensor view = self->toTensor().reshape(sizes);
    stack.erase(self, stack.end());
    stack.emplace_back(std::move(view));
  };
}

}  // namespace titan::dtensor
