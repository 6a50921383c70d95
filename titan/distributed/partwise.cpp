#include "titan/distributed/partwise.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/util/Exception.h>

#include <vector>

#include "titan/distributed/p2p.h"
#include "titan/distributed/process_group.h"

namespace titan::distributed {
namespace {

std::vector<int64_t> stacked(at::IntArrayRef sizes, int64_t num) {
  std::vector<int64_t> result = sizes.vec();
  result.insert(result.begin(), num);
  return result;
}

// How many ranks `rank` is ahead of this one, round the group.
int64_t steps_to(int64_t rank, const ProcessGroup& group) {
  return (rank - group.rank() + group.size()) % group.size();
}

// The k-th step's messages go k ranks back and come from k ranks ahead; each step is one exchange of all ranks, so that
// nobody waits for one who waits for him.
class AllGatherByMessages : public PartwiseAllGather {
 public:
  AllGatherByMessages(const at::Tensor& own, ProcessGroup& group)
      : parts_(at::empty(stacked(own.sizes(), group.size()), own.options())), group_(group.shared_from_this()) {
    const at::Tensor sent = parts_[group.rank()].copy_(own);
    for (int64_t k = 1; k < group.size(); ++k) {
      const int64_t ahead = (group.rank() + k) % group.size(), back = (group.rank() - k + group.size()) % group.size();
      steps_.push_back(exchange({distributed::send(sent, back), receive(parts_[ahead], ahead)}, group));
    }
  }

  at::Tensor wait(int64_t rank) override {
    const int64_t step = steps_to(rank, *group_);
    if (step > 0) steps_[static_cast<size_t>(step) - 1].wait();
    return parts_[rank];
  }
  const at::Tensor& parts() const override { return parts_; }

 private:
  at::Tensor parts_;
  std::shared_ptr<ProcessGroup> group_;
  std::vector<PendingTensors> steps_;
};

class ReduceScatterByMessages : public PartwiseReduceScatter {
 public:
  ReduceScatterByMessages(at::IntArrayRef part_sizes, const at::TensorOptions& options, ProcessGroup& group)
      : sent_(at::empty(stacked(part_sizes, group.size()), options)),
        received_(at::empty_like(sent_)),
        group_(group.shared_from_this()) {}

  // This rank's own is where those of the others will be.
  at::Tensor term(int64_t rank) override { return rank == group_->rank() ? received_[rank] : sent_[rank]; }

  void send(int64_t rank) override {
    const int64_t step = steps_to(rank, *group_), back = (group_->rank() - step + group_->size()) % group_->size();
    TORCH_INTERNAL_ASSERT(step == static_cast<int64_t>(steps_.size()) + 1, "terms out of order");
    steps_.push_back(exchange({distributed::send(sent_[rank], rank), receive(received_[back], back)}, *group_));
  }

  at::Tensor sum() override {
    for (PendingTensors& step : steps_) step.wait();
    return received_.sum(0);
  }

 private:
  at::Tensor sent_, received_;  // by rank
  std::shared_ptr<ProcessGroup> group_;
  std::vector<PendingTensors> steps_;
};

Partwise* special(at::Device device, ProcessGroup& group) {
  return device.is_cpu() ? nullptr : group.device_partwise();
}

}  // namespace

std::unique_ptr<PartwiseAllGather> partwise_all_gather(const at::Tensor& own, ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  if (Partwise* const partwise = special(own.device(), group)) return partwise->all_gather(own);
  return std::make_unique<AllGatherByMessages>(own, group);
}

std::unique_ptr<PartwiseReduceScatter> partwise_reduce_scatter(at::IntArrayRef part_sizes,
                                                               const at::TensorOptions& options, ProcessGroup& group) {
  const at::NoGradGuard no_grad;
  if (Partwise* const partwise = special(options.device(), group)) return partwise->reduce_scatter(part_sizes, options);
  return std::make_unique<ReduceScatterByMessages>(part_sizes, options, group);
}

}  // namespace titan::distributed
