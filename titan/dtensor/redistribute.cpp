#include "titan/dtensor/redistribute.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <c10/util/SmallVector.h>

#include <algorithm>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <queue>

#include "titan/dtensor/cost.h"
#include "titan/dtensor/mesh_state.h"

namespace titan::dtensor {
namespace {

// Bytes on a rank, were all shards even.
double even_bytes(const Spec& spec, const Placements& placements) {
  auto bytes = static_cast<double>(spec.numel() * static_cast<int64_t>(c10::elementSize(spec.dtype)));
  for (size_t axis = 0; axis < placements.size(); ++axis) {
    if (placements[axis].is_shard()) bytes /= static_cast<double>(spec.mesh->sizes[axis]);
  }
  return bytes;
}

// [Note: order of sharding]
bool is_last(const Placements& placements, at::IntArrayRef mesh_sizes, size_t axis) {
  return sharding_order(placements, mesh_sizes, placements[axis].dim).back().axis == static_cast<int64_t>(axis);
}

// What it costs that one axis changes by itself; nothing if it cannot.
std::optional<double> transition_cost(const Spec& spec, const Placements& from, const Placements& to, size_t axis) {
  const Placement &before = from[axis], &after = to[axis];
  const std::vector<int64_t>& mesh_sizes = spec.mesh->sizes;
  if (before.is_shard() && !is_last(from, mesh_sizes, axis)) return std::nullopt;
  if (after.is_shard() && !is_last(to, mesh_sizes, axis)) return std::nullopt;
  const int64_t num_ranks = mesh_sizes[axis];
  if (before.is_shard()) {
    if (after.is_replicate()) return all_gather_cost(even_bytes(spec, to), num_ranks);
    // A dimension's other split is not one exchange of blocks; it goes by way of replicate.
    if (after.is_shard() && after.dim != before.dim) return all_to_all_cost(even_bytes(spec, from), num_ranks);
    return std::nullopt;
  }
  if (before.is_partial()) {
    if (after.is_replicate()) return all_reduce_cost(even_bytes(spec, from), num_ranks);
    if (after.is_shard()) return reduce_scatter_cost(even_bytes(spec, from), num_ranks);
    return std::nullopt;
  }
  return copy_cost(even_bytes(spec, to));
}

// Dijkstra's algorithm over the placements that can be on the way: on each axis those of the ends, replicate, and any
// plain shard among the ends. Ties go to the path found first, so all ranks take the same.
std::vector<Placements> cheapest_path(const Spec& spec, const Placements& goal, double& cost) {
  const size_t num_axes = goal.size();
  std::vector<Placements> candidates(num_axes);
  for (size_t axis = 0; axis < num_axes; ++axis) {
    const auto add = [&](const Placement& placement) {
      auto& list = candidates[axis];
      if (std::find(list.begin(), list.end(), placement) == list.end()) list.push_back(placement);
    };
    add(goal[axis]);
    add(spec.placements[axis]);
    add(replicate());
    for (const Placements* ends : {&spec.placements, &goal}) {
      for (const Placement& placement : *ends) {
        if (placement.is_shard() && placement.split_factor == 1) add(placement);
      }
    }
  }

  struct Node {
    Placements placements;
    double cost;
    int64_t previous;
    bool is_done = false;
  };
  std::vector<Node> nodes{{spec.placements, 0, -1}};
  std::map<Words, int64_t> index_of;
  const auto key = [](const Placements& placements) {
    Words words;
    for (const Placement& placement : placements) words.push_back(placement.packed());
    return words;
  };
  index_of[key(spec.placements)] = 0;
  using Entry = std::pair<double, int64_t>;  // cost, node
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> open;
  open.emplace(0, 0);
  while (!open.empty()) {
    const int64_t current = open.top().second;
    open.pop();
    if (std::exchange(nodes[current].is_done, true)) continue;
    const Placements here = nodes[current].placements;
    if (here == goal) {
      cost = nodes[current].cost;
      std::vector<Placements> path;
      for (int64_t node = current; node >= 0; node = nodes[node].previous) path.push_back(nodes[node].placements);
      std::reverse(path.begin(), path.end());
      return path;
    }
    for (size_t axis = 0; axis < num_axes; ++axis) {
      for (const Placement& candidate : candidates[axis]) {
        if (candidate == here[axis]) continue;
        Placements next = here;
        next[axis] = candidate;
        const std::optional<double> step = transition_cost(spec, here, next, axis);
        if (!step.has_value()) continue;
        const double total = nodes[current].cost + *step;
        const auto [found, is_new] = index_of.emplace(key(next), static_cast<int64_t>(nodes.size()));
        if (is_new) {
          nodes.push_back({std::move(next), total, current});
        } else if (total < nodes[found->second].cost) {
          nodes[found->second].cost = total;
          nodes[found->second].previous = current;
        } else {
          continue;
        }
        open.emplace(total, found->second);
      }
    }
  }
  TORCH_INTERNAL_ASSERT(false, "no path from ", to_string(spec), " to ", to_string(goal));
}

std::optional<Communication> communication_of(const Transition& transition) {
  if (transition.before().is_partial()) return Communication::kReduce;
  if (!transition.before().is_shard()) return std::nullopt;
  return transition.after().is_shard() ? Communication::kExchange : Communication::kGather;
}

std::unique_ptr<RedistributePlan> make_redistribution(const Spec& from, const Placements& goal) {
  auto plan = std::make_unique<RedistributePlan>();
  const Spec* spec = &from;
  std::vector<Placements> path = cheapest_path(from, goal, plan->cost);
  for (size_t step = 1; step < path.size(); ++step) {
    const Spec* const next = with_placements(from, path[step]);
    for (size_t axis = 0; axis < goal.size(); ++axis) {
      const bool changes = spec->placements[axis] != next->placements[axis];
      // On one rank all placements are the same.
      if (changes && from.mesh->sizes[axis] > 1) {
        plan->transitions.push_back(make_transition(static_cast<int64_t>(axis), *spec, *next));
        const auto communication = communication_of(plan->transitions.back());
        if (plan->communication != Communication::kReduce && communication) plan->communication = communication;
      }
    }
    spec = next;
  }
  return plan;
}

}  // namespace

const RedistributePlan& plan_redistribution(const Spec& from, const Placements& placements) {
  MeshState& mesh = *from.mesh;
  c10::SmallVector<uint64_t, 8> key{from.id};
  for (const Placement& placement : placements) key.push_back(placement.packed());
  const WordsView words(key.data(), key.size());
  {
    const std::scoped_lock lock(mesh.mutex);
    const auto found = mesh.redistributions.find(words);
    if (found != mesh.redistributions.end()) return *found->second;
  }
  auto plan = make_redistribution(from, placements);
  const std::scoped_lock lock(mesh.mutex);
  return *mesh.redistributions.emplace(Words(words.begin(), words.end()), std::move(plan)).first->second;
}

at::Tensor redistribute_local(const at::Tensor& local, const RedistributePlan& plan) {
  if (plan.transitions.empty()) return local;
  if (local.is_meta()) return at::empty(plan.transitions.back().to->local_sizes, local.options());
  at::Tensor result = local;
  for (const Transition& transition : plan.transitions) result = start_transition(result, transition).wait();
  return result;
}

}  // namespace titan::dtensor
