#include "titan/activation_checkpoint/memory_budget.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <algorithm>
#include <chrono>
#include <unordered_set>

#include "titan/activation_checkpoint/kept_results.h"

namespace titan::activation_checkpoint {
namespace {

using Clock = std::chrono::steady_clock;

// The device works on while the host goes ahead; a time is known only when it is done.
Clock::time_point now_on(at::Device device) {
  if (!device.is_cpu()) {
    const c10::impl::VirtualGuardImpl guard(device.type());
    guard.synchronizeDevice(guard.getDevice().index());
  }
  return Clock::now();
}

at::Device device_of(const torch::jit::Stack& stack) {
  for (auto value = stack.rbegin(); value != stack.rend(); ++value) {
    if (value->isTensor() && value->toTensor().defined()) return value->toTensor().device();
  }
  return at::kCPU;
}

}  // namespace

class MemoryBudget::Measuring : public OperatorPolicy {
 public:
  explicit Measuring(std::shared_ptr<BlockProfile> profile) : profile_(std::move(profile)) {}

  bool keeps(const c10::OperatorHandle& op, const torch::jit::Stack& stack) override {
    device_ = device_of(stack);
    begin(toString(op.operator_name()));
    return false;
  }
  bool keeps(dtensor::Communication) override {
    begin("redistribute");
    return false;
  }
  void on_results(const std::vector<c10::IValue>& results) override {
    const double seconds = std::chrono::duration<double>(now_on(device_) - started_).count();
    const int64_t bytes = bytes_under(tensors_in(results), {});
    const size_t index = num_seen_++;
    if (index == profile_->candidates.size()) {
      profile_->operators.push_back(name_);
      profile_->candidates.push_back({.seconds = seconds, .bytes = bytes});
      return;
    }
    TORCH_CHECK(profile_->operators[index] == name_ && profile_->candidates[index].bytes == bytes,
                "activation checkpoint: memory_budget and auto need blocks that run the same operators on the same "
                "sizes; operator ",
                index, " is ", profile_->operators[index], " in one and ", name_,
                " in another; use another activation_checkpoint.mode");
    profile_->candidates[index].seconds = std::min(profile_->candidates[index].seconds, seconds);
  }
  bool observes() const override { return true; }
  void on_saved(const at::Tensor& tensor, bool is_given) override { (is_given ? given_ : saved_).push_back(tensor); }
  void on_end() override {
    std::unordered_set<const c10::StorageImpl*> without;
    for (const at::Tensor& tensor : given_) without.insert(local_part(tensor).storage().unsafeGetStorageImpl());
    profile_->plain_bytes = bytes_under(saved_, std::move(without));
    saved_.clear();
    given_.clear();
  }

 private:
  void begin(std::string name) {
    name_ = std::move(name);
    started_ = now_on(device_);
  }

  std::shared_ptr<BlockProfile> profile_;
  size_t num_seen_ = 0;
  std::string name_;
  at::Device device_ = at::kCPU;
  Clock::time_point started_;
  std::vector<at::Tensor> saved_, given_;  // alive, so that no two have one address
};

class MemoryBudget::Keeping : public OperatorPolicy {
 public:
  explicit Keeping(std::shared_ptr<const KeepChoice> choice) : choice_(std::move(choice)) {}
  bool keeps(const c10::OperatorHandle&, const torch::jit::Stack&) override { return next(); }
  bool keeps(dtensor::Communication) override { return next(); }

 private:
  bool next() {
    // A forward of more operators than were measured: those at its end are computed again.
    const size_t index = num_seen_++;
    return index < choice_->keeps.size() && choice_->keeps[index];
  }

  std::shared_ptr<const KeepChoice> choice_;
  size_t num_seen_ = 0;
};

MemoryBudget::MemoryBudget(Bound bound, Agree agree, OnChoice on_choice)
    : bound_(std::move(bound)),
      agree_(std::move(agree)),
      on_choice_(std::move(on_choice)),
      profile_(std::make_shared<BlockProfile>()) {}

std::unique_ptr<OperatorPolicy> MemoryBudget::make_policy() {
  if (choice_ == nullptr) return std::make_unique<Measuring>(profile_);
  return std::make_unique<Keeping>(choice_);
}

void MemoryBudget::before_microbatch(bool last) {
  if (step_ends_ && choice_ == nullptr && !profile_->candidates.empty()) choose();
  step_ends_ = last;
}

void MemoryBudget::choose() {
  std::vector<double> seconds;
  for (const Candidate& candidate : profile_->candidates) seconds.push_back(candidate.seconds);
  agree_(seconds);
  for (size_t i = 0; i < seconds.size(); ++i) profile_->candidates[i].seconds = seconds[i];

  std::vector<double> bound{-static_cast<double>(bound_(*profile_))};  // the largest, negated, is the smallest
  agree_(bound);
  const auto max_bytes = static_cast<int64_t>(-bound.front());
  keeps_everything_ = max_bytes >= profile_->plain_bytes;
  KeepChoice choice = best_to_keep(profile_->candidates, max_bytes);
  if (keeps_everything_) {
    choice = {.keeps = std::vector<bool>(profile_->candidates.size(), true), .bytes = profile_->plain_bytes};
  }
  choice_ = std::make_shared<const KeepChoice>(std::move(choice));
  on_choice_(*profile_, *choice_);
}

}  // namespace titan::activation_checkpoint
