#include "titan/train/whole_state.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/full.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <sstream>
#include <vector>

#include "titan/distributed/collectives.h"
#include "titan/dtensor/dtensor.h"

namespace titan::train {

namespace {

using Tensors = std::map<std::string, at::Tensor>;

// A line per tensor: its name, its dtype and its sizes.
at::Tensor describe(const Tensors& tensors) {
  std::string text;
  for (const auto& [name, tensor] : tensors) {
    text += fmt::format("{} {} {}\n", name, static_cast<int>(tensor.scalar_type()), fmt::join(tensor.sizes(), " "));
  }
  return at::from_blob(text.data(), {static_cast<int64_t>(text.size())}, at::kByte).clone();
}

// Tensors as described, not yet filled.
Tensors empty_as_described(const at::Tensor& description) {
  std::istringstream lines(
      std::string(reinterpret_cast<const char*>(description.const_data_ptr<uint8_t>()), description.nbytes()));
  Tensors tensors;
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string name;
    int dtype = 0;
    words >> name >> dtype;
    std::vector<int64_t> sizes;
    for (int64_t size = 0; words >> size;) sizes.push_back(size);
    tensors[name] = at::empty(sizes, at::device(at::kCPU).dtype(static_cast<at::ScalarType>(dtype)));
  }
  return tensors;
}

// Adds what the other ranks of `group` have.
void join(Tensors& tensors, distributed::ProcessGroup& group) {
  const at::Tensor own = describe(tensors);
  const at::Tensor lengths = distributed::all_gather(at::full({1}, own.numel(), at::kLong), group).wait();
  std::vector<int64_t> sizes(lengths.const_data_ptr<int64_t>(), lengths.const_data_ptr<int64_t>() + group.size());
  const at::Tensor descriptions = distributed::all_gather_uneven(own, sizes, group).wait();
  const Tensors mine = tensors;
  for (int64_t rank = 0, begin = 0; rank < group.size(); begin += sizes[static_cast<size_t>(rank++)]) {
    Tensors theirs = rank == group.rank()
                         ? mine
                         : empty_as_described(descriptions.narrow(0, begin, sizes[static_cast<size_t>(rank)]));
    std::vector<at::Tensor> messages;
    for (const auto& [name, tensor] : theirs) messages.push_back(tensor.to(at::kCPU).contiguous());
    distributed::broadcast_coalesced_(messages, rank, group).wait();
    tensors.merge(theirs);
  }
}

}  // namespace

Tensors gather(const Tensors& tensors, distributed::ProcessGroup& others) {
  const at::NoGradGuard no_grad;
  Tensors whole;
  for (const auto& [name, tensor] : tensors) {
    whole[name] = dtensor::is_dtensor(tensor) ? dtensor::full_tensor(tensor) : tensor;
  }
  if (others.size() > 1) join(whole, others);
  return whole;
}

checkpoint::TrainState gather(const checkpoint::TrainState& state, distributed::ProcessGroup& others) {
  return {
      .model = gather(state.model, others), .optimizer = gather(state.optimizer, others), .counters = state.counters};
}

void scatter(const std::map<std::string, at::Tensor>& whole, const std::map<std::string, at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor& from = whole.at(name);
    if (!dtensor::is_dtensor(tensor)) {
      if (!from.is_same(tensor)) tensor.copy_(from);
      continue;
    }
    const at::Tensor placed = dtensor::distribute_tensor(from, dtensor::mesh_of(tensor), dtensor::placements_of(tensor),
                                                         {.broadcast = false});
    dtensor::local_of(tensor).copy_(dtensor::local_of(placed));
  }
}

}  // namespace titan::train
