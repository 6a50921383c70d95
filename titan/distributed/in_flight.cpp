#include "titan/distributed/in_flight.h"

#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include "titan/distributed/failure.h"
#include "titan/distributed/process_group.h"

namespace titan::distributed {
namespace {

// What this thread spends on other ranks, in profiles: backends are called past the dispatcher.
constexpr char kScope[] = "titan::communicate";

}  // namespace

InFlight::InFlight(const char* name, const at::Tensor& tensor, ProcessGroup& group)
    : name_(name),
      sizes_(tensor.sizes().vec()),
      dtype_(tensor.scalar_type()),
      group_(group.shared_from_this()),
      index_(group.next_operation()),
      begin_(std::chrono::steady_clock::now()) {}

InFlight::~InFlight() = default;

void InFlight::start(const std::function<c10::intrusive_ptr<c10d::Work>()>& call) {
  RECORD_USER_SCOPE(kScope);
  try {
    if (auto work = call()) works_.push_back(std::move(work));
  } catch (const std::exception& error) {
    fail(error);
  }
}

bool InFlight::completed() const {
  return std::all_of(works_.begin(), works_.end(), [](const auto& work) { return work->isCompleted(); });
}

std::vector<at::Tensor> InFlight::finish() {
  RECORD_USER_SCOPE(kScope);
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
  throw_failure(description(), group_->ranks(), group_->ranks()[static_cast<size_t>(group_->rank())], begin_,
                group_->heartbeat(), error);
}

}  // namespace titan::distributed
