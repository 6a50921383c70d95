#include "titan/activation_checkpoint/random_state.h"

#include <ATen/Context.h>
#include <ATen/core/Generator.h>

#include <mutex>

namespace titan::activation_checkpoint {
namespace {

std::vector<at::Generator> generators(at::Device device) {
  std::vector<at::Generator> all{at::globalContext().defaultGenerator(at::kCPU)};
  if (device.is_cuda()) all.push_back(at::globalContext().defaultGenerator(device));
  return all;
}

std::vector<at::Tensor> current_states(at::Device device) {
  std::vector<at::Tensor> states;
  for (at::Generator& generator : generators(device)) {
    const std::scoped_lock lock(generator.mutex());
    states.push_back(generator.get_state());
  }
  return states;
}

void set_states(at::Device device, const std::vector<at::Tensor>& states) {
  auto all = generators(device);
  for (size_t i = 0; i < all.size(); ++i) {
    const std::scoped_lock lock(all[i].mutex());
    all[i].set_state(states[i]);
  }
}

}  // namespace

RandomState::RandomState(at::Device device) : states_(current_states(device)), device_(device) {}

RandomState::Return::Return(const RandomState& to) : states_(current_states(to.device_)), device_(to.device_) {
  set_states(device_, to.states_);
}

RandomState::Return::~Return() { set_states(device_, states_); }

}  // namespace titan::activation_checkpoint
