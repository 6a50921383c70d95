// Parameters that several stages use: a tied embedding at both ends of a model. The stage that comes first owns it: its
// rank alone trains it, saves it and counts it in norms. Another stage that uses it follows: it has a copy, which takes
// the owner's values before a step, and whose gradient is added to the owner's after it. Together that moves as much as
// summing the gradient on both sides would.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "titan/distributed/process_group.h"
#include "titan/nn/module.h"

namespace titan::pipeline {

// By FQN in the whole model.
struct Tie {
  std::string owner, follower;
};

// The parameters of `model`, whole, that are in several places.
std::vector<Tie> ties_of(const nn::Module& model);

struct TiedParameter {
  int64_t owner_rank = 0, follower_rank = 0;  // in the pipeline's group
  // Null where it is on another rank. Placed alike, if they are DTensors.
  nn::Parameter* owner = nullptr;
  nn::Parameter* follower = nullptr;
};

class TiedParameters {
 public:
  // The same list on all ranks of `group`, but for what is null.
  TiedParameters(std::vector<TiedParameter> parameters, std::shared_ptr<distributed::ProcessGroup> group)
      : parameters_(std::move(parameters)), group_(std::move(group)) {}

  // Followers take their owners' values. Collective over the group, as what follows.
  void refresh_followers() const;
  // Owners' gradients get their followers', which are then forgotten.
  void add_up_gradients() const;

 private:
  std::vector<TiedParameter> parameters_;
  std::shared_ptr<distributed::ProcessGroup> group_;
};

}  // namespace titan::pipeline
