#include "titan/distributed/process_group.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <utility>

#include "titan/distributed/recorder/flight_recorder.h"

namespace titan::distributed {

ProcessGroup::ProcessGroup(std::vector<int64_t> ranks, int64_t rank, c10::intrusive_ptr<c10d::Backend> backend,
                           c10::intrusive_ptr<c10d::Backend> device_backend, std::chrono::milliseconds timeout,
                           GroupObservers observers)
    : ranks_(std::move(ranks)),
      rank_(rank),
      name_(name_of_ranks(ranks_)),
      backend_(std::move(backend)),
      device_backend_(std::move(device_backend)),
      timeout_(timeout),
      observers_(std::move(observers)),
      num_sent_(ranks_.size()),
      num_received_(ranks_.size()),
      messages_to_(ranks_.size()),
      messages_from_(ranks_.size()) {
  if (observers_.recorder == nullptr || size() == 1) return;
  c10d::Backend* const used = device_backend_ ? device_backend_.get() : backend_.get();
  collectives_ = observers_.recorder->channel({.key = key_of_ranks(ranks_),
                                               .name = observers_.name.empty() ? name_ : observers_.name,
                                               .backend = used->getBackendName(),
                                               .ranks = ranks_});
}

ProcessGroup::~ProcessGroup() = default;

void ProcessGroup::set_timeout(std::chrono::milliseconds timeout) {
  timeout_ = timeout;
  if (backend_) backend_->setTimeout(timeout);
  if (device_backend_) device_backend_->setTimeout(timeout);
}

c10d::Backend* ProcessGroup::backend(at::Device device) const {
  if (device.is_cpu() || size() == 1) return backend_.get();
  TORCH_CHECK_VALUE(device_backend_ != nullptr, name_,
                    ": expected tensors on the CPU, since these ranks have no GPU, got one on ", device);
  return device_backend_.get();
}

Partwise* ProcessGroup::device_partwise() {
  if (make_device_partwise_) device_partwise_ = std::exchange(make_device_partwise_, nullptr)();
  return device_partwise_.get();
}

recorder::Channel* ProcessGroup::messages(int64_t sender, int64_t receiver, std::vector<recorder::Channel*>& known) {
  if (collectives_ == nullptr) return nullptr;
  recorder::Channel*& channel = known[static_cast<size_t>(sender == rank_ ? receiver : sender)];
  if (channel != nullptr) return channel;
  const int64_t from = ranks_[static_cast<size_t>(sender)], to = ranks_[static_cast<size_t>(receiver)];
  channel = observers_.recorder->channel({.key = fmt::format("{}:{}>{}", collectives_->key, from, to),
                                          .name = fmt::format("{} {}->{}", collectives_->name, from, to),
                                          .backend = collectives_->backend,
                                          .ranks = {std::min(from, to), std::max(from, to)},
                                          .sender = from < to ? 0 : 1});
  return channel;
}

void ProcessGroup::abandon() {
  backend_.release();
  device_backend_.release();
}

std::string key_of_ranks(const std::vector<int64_t>& ranks) {
  constexpr size_t kMostSpelled = 16;
  if (ranks.size() <= kMostSpelled) return fmt::format("{}", fmt::join(ranks, ","));
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const int64_t rank : ranks) hash = (hash ^ static_cast<uint64_t>(rank)) * 0x100000001b3;
  return fmt::format("{}-{}-{}-{:016x}", ranks.front(), ranks.back(), ranks.size(), hash);
}

std::string name_of_ranks(const std::vector<int64_t>& ranks) {
  constexpr size_t kMostShown = 16;
  if (ranks.size() == 1) return fmt::format("rank {}", ranks.front());
  const auto size = static_cast<int64_t>(ranks.size());
  if (size > 2 && ranks.back() - ranks.front() == size - 1) {
    return fmt::format("ranks {}-{}", ranks.front(), ranks.back());
  }
  if (ranks.size() <= kMostShown) return fmt::format("ranks {}", fmt::join(ranks, ", "));
  return fmt::format("ranks {}, ..., {} ({} of them)", fmt::join(ranks.begin(), ranks.begin() + 4, ", "), ranks.back(),
                     size);
}

}  // namespace titan::distributed
