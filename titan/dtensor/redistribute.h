// From one placement to another: the cheapest path of steps, each on one axis of the mesh and most of them one
// collective, and running it on local tensors. Private to titan/dtensor; see dtensor.h for the function on DTensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <optional>
#include <vector>

#include "titan/distributed/collectives.h"
#include "titan/dtensor/interposition.h"
#include "titan/dtensor/placement.h"
#include "titan/dtensor/spec.h"

namespace titan::dtensor {

// One axis changes its placement:
//   S -> R  all_gather        P -> R  all_reduce        P -> S  reduce_scatter        S -> S'  all_to_all
//   R -> S  keeps a part      R -> P  keeps it on one rank, zeros elsewhere (of an average or extremum: everywhere)
struct Transition {
  int64_t axis = 0;
  const Spec *from = nullptr, *to = nullptr;
  // S -> ...: what each rank of the axis has of the dimension, as global indices; the others' coordinates are ours.
  std::vector<Segments> gathered;
  // ... -> S: what each will have, as positions in the local tensor.
  std::vector<Segments> split;

  const Placement& before() const { return from->placements[axis]; }
  const Placement& after() const { return to->placements[axis]; }
};
// Of an axis that can change by itself.
Transition make_transition(int64_t axis, const Spec& from, const Spec& to);

struct RedistributePlan {
  std::vector<Transition> transitions;
  double cost = 0;                             // see cost.h
  std::optional<Communication> communication;  // none: ranks do by themselves
};

// The path from `from` to the same tensor placed by `placements`; the same on every rank. Kept with the mesh.
const RedistributePlan& plan_redistribution(const Spec& from, const Placements& placements);

// Collective over the axes that change. `local` is not changed; the result may share its memory.
at::Tensor redistribute_local(const at::Tensor& local, const RedistributePlan& plan);

// One step, in transition.cpp. Starts it; the result is there when the Pending is.
distributed::Pending start_transition(const at::Tensor& local, const Transition& transition);

}  // namespace titan::dtensor
