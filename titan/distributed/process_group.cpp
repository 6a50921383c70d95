#include "titan/distributed/process_group.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <utility>

#include "titan/distributed/heartbeat.h"

namespace titan::distributed {

ProcessGroup::ProcessGroup(std::vector<int64_t> ranks, int64_t rank, c10::intrusive_ptr<c10d::Backend> backend,
                           c10::intrusive_ptr<c10d::Backend> device_backend, std::chrono::milliseconds timeout,
                           std::shared_ptr<Heartbeat> heartbeat)
    : ranks_(std::move(ranks)),
      rank_(rank),
      name_(name_of_ranks(ranks_)),
      backend_(std::move(backend)),
      device_backend_(std::move(device_backend)),
      timeout_(timeout),
      heartbeat_(std::move(heartbeat)),
      num_sent_(ranks_.size()),
      num_received_(ranks_.size()) {}

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

void ProcessGroup::abandon() {
  backend_.release();
  device_backend_.release();
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
