#include "titan/parallel/context/rotation.h"

#include <ATen/OpMathType.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>

#include "titan/distributed/p2p.h"
#include "titan/distributed/partwise.h"

namespace titan::parallel {
namespace {

using distributed::ProcessGroup;

int64_t rank_ahead(const ProcessGroup& group, int64_t steps) { return (group.rank() + steps) % group.size(); }
int64_t rank_behind(const ProcessGroup& group) { return (group.rank() + group.size() - 1) % group.size(); }

class AllGathered : public KvBlocks {
 public:
  AllGathered(const at::Tensor& key, const at::Tensor& value, ProcessGroup& group)
      : key_(key),
        value_(value),
        group_(group.shared_from_this()),
        parts_(distributed::partwise_all_gather(at::cat({key.reshape({-1}), value.reshape({-1})}), group)) {}

  std::optional<KvBlock> next() override {
    if (num_taken_ == group_->size()) return std::nullopt;
    const int64_t rank = rank_ahead(*group_, num_taken_++);
    const at::Tensor part = parts_->wait(rank);
    if (rank == group_->rank()) return KvBlock{rank, key_, value_};
    return KvBlock{rank, part.narrow(0, 0, key_.numel()).view(key_.sizes()),
                   part.narrow(0, key_.numel(), value_.numel()).view(value_.sizes())};
  }

 private:
  at::Tensor key_, value_;
  std::shared_ptr<ProcessGroup> group_;
  std::unique_ptr<distributed::PartwiseAllGather> parts_;
  int64_t num_taken_ = 0;
};

class PassedOn : public KvBlocks {
 public:
  PassedOn(const at::Tensor& key, const at::Tensor& value, ProcessGroup& group)
      : here_{group.rank(), key.contiguous(), value.contiguous()}, group_(group.shared_from_this()) {
    ask_for_next();
  }

  std::optional<KvBlock> next() override {
    if (num_taken_ == group_->size()) return std::nullopt;
    if (num_taken_++ == 0) return here_;
    exchange_->wait();
    // What was here has been sent; the caller is done with it, so its memory can take the block after next. Not this
    // rank's own, which is not ours to write to.
    std::swap(here_, coming_);
    if (num_taken_ == 2) coming_ = {};
    if (num_taken_ < group_->size()) ask_for_next();
    return here_;
  }

 private:
  void ask_for_next() {
    if (group_->size() == 1) return;
    if (!coming_.key.defined()) {
      coming_.key = at::empty_like(here_.key);
      coming_.value = at::empty_like(here_.value);
    }
    coming_.rank = (here_.rank + 1) % group_->size();
    const int64_t to = rank_behind(*group_), from = rank_ahead(*group_, 1);
    exchange_.emplace(
        distributed::exchange({distributed::send(here_.key, to), distributed::send(here_.value, to),
                               distributed::receive(coming_.key, from), distributed::receive(coming_.value, from)},
                              *group_));
  }

  KvBlock here_, coming_;
  std::shared_ptr<ProcessGroup> group_;
  std::optional<distributed::PendingTensors> exchange_;
  int64_t num_taken_ = 0;
};

}  // namespace

std::unique_ptr<KvBlocks> rotate(KvRotation rotation, const at::Tensor& key, const at::Tensor& value,
                                 ProcessGroup& group) {
  if (rotation == KvRotation::kAllGather) return std::make_unique<AllGathered>(key, value, group);
  return std::make_unique<PassedOn>(key, value, group);
}

TravellingGradients::TravellingGradients(const at::Tensor& key, const at::Tensor& value, ProcessGroup& group)
    : key_sizes_(key.sizes().vec()),
      value_sizes_(value.sizes().vec()),
      options_(key.options().dtype(at::toOpMathType(key.scalar_type())).requires_grad(false)),
      group_(group.shared_from_this()) {}

void TravellingGradients::Sums::add(Rows rows, const at::Tensor& grad_key, const at::Tensor& grad_value) const {
  if (rows.size == 0) return;
  key.narrow(1, rows.begin, rows.size).add_(grad_key);
  value.narrow(1, rows.begin, rows.size).add_(grad_value);
}

TravellingGradients::Sums TravellingGradients::zeros() const {
  return {at::zeros(key_sizes_, options_), at::zeros(value_sizes_, options_)};
}

void TravellingGradients::add(Rows rows, const at::Tensor& grad_key, const at::Tensor& grad_value) {
  const int64_t turn = num_added_++;
  if (turn == 0) {  // of its own block, which stays here
    const bool of_all = rows.size == key_sizes_[1];
    own_ = of_all ? Sums{grad_key.to(options_.dtype()), grad_value.to(options_.dtype())} : zeros();
    if (!of_all) own_.add(rows, grad_key, grad_value);
    return;
  }
  if (turn == 1) {  // the first to add to the next rank's
    here_ = zeros();
  } else {
    exchange_->wait();
    std::swap(here_, coming_);
  }
  here_.add(rows, grad_key, grad_value);
  pass_on();
}

// After as many turns as there are others, what is passed on is at home.
void TravellingGradients::pass_on() {
  if (!coming_.key.defined()) coming_ = {at::empty(key_sizes_, options_), at::empty(value_sizes_, options_)};
  const int64_t to = rank_behind(*group_), from = rank_ahead(*group_, 1);
  exchange_.emplace(
      distributed::exchange({distributed::send(here_.key, to), distributed::send(here_.value, to),
                             distributed::receive(coming_.key, from), distributed::receive(coming_.value, from)},
                            *group_));
}

std::pair<at::Tensor, at::Tensor> TravellingGradients::wait() {
  TORCH_INTERNAL_ASSERT(num_added_ == group_->size(), "gradients of ", num_added_, " blocks of ", group_->size());
  if (exchange_.has_value()) {
    exchange_->wait();
    own_.key.add_(coming_.key);
    own_.value.add_(coming_.value);
  }
  return {own_.key, own_.value};
}

}  // namespace titan::parallel
