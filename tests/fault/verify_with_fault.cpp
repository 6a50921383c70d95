// `titan verify` with one error planted in the ranks of the layouts, which TITAN_TEST_FAULT names. A program of its
// own, so that nothing of it is in the product.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "cli/verify.h"
#include "titan/distributed/rank_info.h"

namespace titan {
namespace {

using Gradients = std::map<std::string, at::Tensor>;

constexpr const char* kTensor = "layers.0.ffn_norm.weight";

// Divides by the number of ranks what is a sum already scaled: TorchTitan's own error under DDP.
struct DoubleDivision : train::StepObserver {
  void on_gradients(int64_t, const Gradients& gradients) override {
    at::NoGradGuard no_grad;
    for (const auto& [name, gradient] : gradients) gradient.div_(2);
  }
};

struct LeftOutOfClipping : train::StepObserver {
  at::Tensor before;
  void on_gradients(int64_t, const Gradients& gradients) override { before = gradients.at(kTensor).clone(); }
  void on_clipped(int64_t, const Gradients& gradients) override { gradients.at(kTensor).copy_(before); }
};

// On rank 1, at step 2.
struct SampleReadTwice : train::StepObserver {
  int64_t rank;
  explicit SampleReadTwice(int64_t rank) : rank(rank) {}
  void on_batches(int64_t step, std::vector<data::Batch>& batches) override {
    if (rank != 1 || step != 2) return;
    data::Batch& batch = batches.front();
    batch.input[1].copy_(batch.input[0]);
    batch.labels[1].copy_(batch.labels[0]);
  }
};

// Reductions of gradients go through, but their result is lost: what a rank had itself is what it keeps.
class DroppingBackend : public c10d::Backend {
 public:
  explicit DroppingBackend(c10::intrusive_ptr<c10d::Backend> backend)
      : Backend(backend->getRank(), backend->getSize()), backend_(std::move(backend)) {}
  const std::string getBackendName() const override { return "dropping"; }
  void setTimeout(std::chrono::milliseconds timeout) override { backend_->setTimeout(timeout); }
  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override {
    if (tensors.front().scalar_type() != at::kFloat) return backend_->allreduce(tensors, options);
    lost_ = {tensors.front().clone()};
    return backend_->allreduce(lost_, options);
  }
  c10::intrusive_ptr<c10d::Work> _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                                      const c10d::ReduceScatterOptions& options) override {
    output.copy_(input.chunk(getSize())[getRank()]);
    lost_ = {at::empty_like(output)};
    return backend_->_reduce_scatter_base(lost_.front(), input, options);
  }
  c10::intrusive_ptr<c10d::Work> _allgather_base(at::Tensor& output, at::Tensor& input,
                                                 const c10d::AllgatherOptions& options) override {
    return backend_->_allgather_base(output, input, options);
  }

 private:
  c10::intrusive_ptr<c10d::Backend> backend_;
  std::vector<at::Tensor> lost_;
};

}  // namespace
}  // namespace titan

int main(int argc, char** argv) {
  using namespace titan;
  const char* const fault = std::getenv("TITAN_TEST_FAULT");
  const std::string name = fault == nullptr ? "" : fault;
  const int64_t rank = distributed::rank_info_from_environment().rank;
  DoubleDivision double_division;
  LeftOutOfClipping left_out_of_clipping;
  SampleReadTwice sample_read_twice(rank);
  cli::PlantedFaults faults;
  if (name == "double division") faults.observer = &double_division;
  if (name == "left out of clipping") faults.observer = &left_out_of_clipping;
  if (name == "sample read twice") faults.observer = &sample_read_twice;
  if (name == "another seed" && rank == 1) faults.flags = {"--debug.seed=99"};
  if (name == "dropped reduction") {
    faults.make_backend = [make = distributed::backend_factory("gloo")](const distributed::BackendRequest& request) {
      return c10::make_intrusive<DroppingBackend>(make(request));
    };
  }
  try {
    return cli::run_verify_with({argv + 2, argv + argc}, faults);  // after "verify"
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
