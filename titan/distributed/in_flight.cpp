#include "titan/distributed/in_flight.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include "titan/distributed/heartbeat.h"
#include "titan/distributed/process_group.h"

namespace titan::distributed {

InFlight::InFlight(const char* name, const at::Tensor& tensor, ProcessGroup& group)
    : name_(name),
      sizes_(tensor.sizes().vec()),
      dtype_(tensor.scalar_type()),
      group_(group.shared_from_this()),
      index_(group.next_operation()),
      begin_(std::chrono::steady_clock::now()) {}

InFlight::~InFlight() = default;

void InFlight::start(const std::function<c10::intrusive_ptr<c10d::Work>()>& call) {
  try {
    works_.push_back(call());
  } catch (const std::exception& error) {
    fail(error);
  }
}

bool InFlight::completed() const {
  return std::all_of(works_.begin(), works_.end(), [](const auto& work) { return work->isCompleted(); });
}

std::vector<at::Tensor> InFlight::finish() {
  for (const auto& work : works_) {
    try {
      work->wait();
    } catch (const std::exception& error) {
      fail(error);
    }
  }
  const at::NoGradGuard no_grad;
  return on_arrival();
}

std::string InFlight::description() const {
  return fmt::format("{} of {} [{}] (operation {} of {})", name_, at::toString(dtype_), fmt::join(sizes_, ", "), index_,
                     group_->name());
}

void InFlight::fail(const std::exception& error) const {
  const std::chrono::duration<double> waited = std::chrono::steady_clock::now() - begin_;
  const auto* const torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string reason = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  reason = reason.substr(0, reason.find('\n'));
  if (reason.starts_with("[/") && reason.find("] ") != std::string::npos) {
    reason = reason.substr(reason.find("] ") + 2);  // Gloo's source file
  }
  Heartbeat* const heartbeat = group_->heartbeat();
  const std::string blame = heartbeat != nullptr ? heartbeat->blame(description(), group_->ranks()) : "it failed";
  TORCH_CHECK(false, description(), ": ", blame, "; rank ", group_->ranks()[static_cast<size_t>(group_->rank())],
              fmt::format(" waited for {:.1f} s ({})", waited.count(), reason));
}

}  // namespace titan::distributed
