#include "titan/distributed/shm/backend.h"

#include <c10/util/Exception.h>

#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "titan/distributed/shm/algorithms.h"
#include "titan/distributed/shm/work.h"

namespace titan::distributed::shm {
namespace {

using Tensors = std::vector<at::Tensor>;
using c10d::OpType;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;

Part memory_of(const at::Tensor& x) {
  TORCH_CHECK_VALUE(x.device().is_cpu() && x.is_contiguous(), "shm: expected a contiguous CPU tensor, got one of ",
                    x.sizes(), " with strides ", x.strides(), " on ", x.device());
  return {static_cast<std::byte*>(x.data_ptr()), static_cast<int64_t>(x.nbytes())};
}

std::vector<Part> memory_of_each(const Tensors& tensors) {
  std::vector<Part> parts;
  for (const at::Tensor& tensor : tensors) parts.push_back(memory_of(tensor));
  return parts;
}

// Consecutive parts of `whole`.
std::vector<Part> parts_of(const Part& whole, const std::vector<int64_t>& bytes) {
  std::vector<Part> parts;
  int64_t begin = 0;
  for (const int64_t size : bytes) {
    parts.push_back({whole.data + begin, size});
    begin += size;
  }
  return parts;
}

ReduceOp reduce_op(const c10d::ReduceOp& op) {
  switch (op.op_) {
    case c10d::ReduceOp::SUM:
      return ReduceOp::kSum;
    case c10d::ReduceOp::MAX:
      return ReduceOp::kMax;
    case c10d::ReduceOp::MIN:
      return ReduceOp::kMin;
    default:
      TORCH_CHECK_VALUE(false, "shm: expected a sum, maximum or minimum, got reduction ", static_cast<int>(op.op_));
  }
}

// What must agree on all ranks beside the size.
uint32_t tag_of(ReduceOp op, const at::Tensor& x) {
  return static_cast<uint32_t>(op) << 8U | static_cast<uint32_t>(x.scalar_type());
}
uint32_t tag_of(const at::Tensor& x) { return static_cast<uint32_t>(x.scalar_type()); }

const at::Tensor& only(const Tensors& tensors) {
  TORCH_CHECK_VALUE(tensors.size() == 1, "shm: expected one tensor, got ", tensors.size());
  return tensors.front();
}

class ShmBackend : public c10d::Backend {
 public:
  ShmBackend(std::unique_ptr<Links> links, std::chrono::milliseconds timeout)
      : Backend(static_cast<int>(links->rank()), static_cast<int>(links->size())),
        engine_(std::make_shared<Engine>(std::move(links))),
        timeout_(timeout) {}

  const std::string getBackendName() const override { return "shm"; }
  void setTimeout(std::chrono::milliseconds timeout) override { timeout_ = timeout; }

  // --- reductions ---

  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override {
    return work(OpType::ALLREDUCE, {all_reduce_of(only(tensors), options)}, tensors);
  }
  WorkPtr allreduce_coalesced(Tensors& tensors, const c10d::AllreduceCoalescedOptions& options) override {
    Operations operations;
    for (const at::Tensor& tensor : tensors) operations.push_back(all_reduce_of(tensor, options));
    return work(OpType::ALLREDUCE_COALESCED, std::move(operations), tensors);
  }
  WorkPtr reduce(Tensors& tensors, const c10d::ReduceOptions& options) override {
    const at::Tensor& x = only(tensors);
    const ReduceOp op = reduce_op(options.reduceOp);
    // Every rank's part is empty but the root's.
    std::vector<Part> inputs(static_cast<size_t>(getSize()));
    inputs[static_cast<size_t>(options.rootRank)] = memory_of(x);
    return work(OpType::REDUCE,
                {start(shm::reduce_scatter(links(), Kind::kReduce, std::move(inputs), memory_of(x).data,
                                           Reducer(op, x.scalar_type()), tag_of(op, x)),
                       {x}, options.timeout)},
                tensors);
  }
  WorkPtr _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                               const c10d::ReduceScatterOptions& options) override {
    return work(OpType::_REDUCE_SCATTER_BASE, {reduce_scatter_of(output, input, options)}, {output});
  }
  WorkPtr reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                          const c10d::ReduceScatterOptions& options) override {
    Operations operations;
    for (size_t i = 0; i < inputs.size(); ++i) {
      operations.push_back(reduce_scatter_of(outputs[i], inputs[i], options));
    }
    return work(OpType::COALESCED, std::move(operations), outputs);
  }
  WorkPtr reduce_scatter(Tensors& outputs, std::vector<Tensors>& inputs,
                         const c10d::ReduceScatterOptions& options) override {
    const at::Tensor& output = only(outputs);
    const ReduceOp op = reduce_op(options.reduceOp);
    Tensors used = inputs.at(0);
    used.push_back(output);
    return work(
        OpType::REDUCE_SCATTER,
        {start(shm::reduce_scatter(links(), Kind::kReduceScatter, memory_of_each(inputs[0]), memory_of(output).data,
                                   Reducer(op, output.scalar_type()), tag_of(op, output)),
               std::move(used), options.timeout)},
        outputs);
  }

  // --- copies ---

  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override {
    const at::Tensor& x = only(tensors);
    return work(OpType::BROADCAST,
                {start(shm::broadcast(links(), memory_of(x), options.rootRank), {x}, options.timeout)}, tensors);
  }
  WorkPtr allgather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::AllgatherOptions& options) override {
    return work(OpType::ALLGATHER, {all_gather_of(outputs.at(0), only(inputs), options)}, outputs[0]);
  }
  WorkPtr allgather_coalesced(std::vector<Tensors>& outputs, Tensors& inputs,
                              const c10d::AllgatherOptions& options) override {
    // outputs[i][j]: the j-th tensor of rank i.
    Operations operations;
    Tensors results;
    for (size_t j = 0; j < inputs.size(); ++j) {
      Tensors of_ranks;
      for (const Tensors& of_rank : outputs) of_ranks.push_back(of_rank.at(j));
      operations.push_back(all_gather_of(of_ranks, inputs[j], options));
      results.insert(results.end(), of_ranks.begin(), of_ranks.end());
    }
    return work(OpType::ALLGATHER_COALESCED, std::move(operations), results);
  }
  WorkPtr _allgather_base(at::Tensor& output, at::Tensor& input, const c10d::AllgatherOptions& options) override {
    return work(OpType::_ALLGATHER_BASE, {all_gather_into(output, input, options)}, {output});
  }
  WorkPtr allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                          const c10d::AllgatherOptions& options) override {
    Operations operations;
    for (size_t i = 0; i < inputs.size(); ++i) operations.push_back(all_gather_into(outputs[i], inputs[i], options));
    return work(OpType::COALESCED, std::move(operations), outputs);
  }
  WorkPtr gather(std::vector<Tensors>& outputs, Tensors& inputs, const c10d::GatherOptions& options) override {
    const at::Tensor& x = only(inputs);
    std::vector<Part> sent(static_cast<size_t>(getSize())), received(static_cast<size_t>(getSize()));
    sent[static_cast<size_t>(options.rootRank)] = memory_of(x);
    Tensors used{x};
    if (getRank() == options.rootRank) {
      received = memory_of_each(outputs.at(0));
      used.insert(used.end(), outputs[0].begin(), outputs[0].end());
    }
    return work(OpType::GATHER, {exchange(Kind::kGather, std::move(sent), std::move(received), used, options.timeout)},
                outputs.empty() ? Tensors{} : outputs[0]);
  }
  WorkPtr scatter(Tensors& outputs, std::vector<Tensors>& inputs, const c10d::ScatterOptions& options) override {
    const at::Tensor& x = only(outputs);
    std::vector<Part> sent(static_cast<size_t>(getSize())), received(static_cast<size_t>(getSize()));
    received[static_cast<size_t>(options.rootRank)] = memory_of(x);
    Tensors used{x};
    if (getRank() == options.rootRank) {
      sent = memory_of_each(inputs.at(0));
      used.insert(used.end(), inputs[0].begin(), inputs[0].end());
    }
    return work(OpType::SCATTER,
                {exchange(Kind::kScatter, std::move(sent), std::move(received), used, options.timeout)}, outputs);
  }
  WorkPtr alltoall_base(at::Tensor& output, at::Tensor& input, std::vector<int64_t>& output_splits,
                        std::vector<int64_t>& input_splits, const c10d::AllToAllOptions& options) override {
    return work(OpType::ALLTOALL_BASE,
                {exchange(Kind::kAllToAll, parts_of(memory_of(input), bytes_of_splits(input, input_splits)),
                          parts_of(memory_of(output), bytes_of_splits(output, output_splits)), {input, output},
                          options.timeout)},
                {output});
  }
  WorkPtr alltoall(Tensors& outputs, Tensors& inputs, const c10d::AllToAllOptions& options) override {
    Tensors used = inputs;
    used.insert(used.end(), outputs.begin(), outputs.end());
    return work(OpType::ALLTOALL,
                {exchange(Kind::kAllToAll, memory_of_each(inputs), memory_of_each(outputs), used, options.timeout)},
                outputs);
  }
  WorkPtr barrier(const c10d::BarrierOptions& options) override {
    return work(OpType::BARRIER,
                {start(all_gather(links(), {}, std::vector<std::byte*>(static_cast<size_t>(getSize())), 0), {},
                       options.timeout)},
                {});
  }

  // --- messages: those between two ranks arrive in the order sent, with the tags they were sent with ---

  WorkPtr send(Tensors& tensors, int peer, int tag) override {
    const at::Tensor& x = only(tensors);
    return work(OpType::SEND,
                {engine_->start({Engine::Lane::Kind::kSend, peer},
                                shm::send(links(), memory_of(x), peer, static_cast<uint32_t>(tag)), {x}, timeout_)},
                tensors);
  }
  WorkPtr recv(Tensors& tensors, int peer, int tag) override {
    const at::Tensor& x = only(tensors);
    return work(OpType::RECV,
                {engine_->start({Engine::Lane::Kind::kReceive, peer},
                                shm::receive(links(), memory_of(x), peer, static_cast<uint32_t>(tag)), {x}, timeout_)},
                tensors);
  }

 private:
  using OperationPtr = std::shared_ptr<Operation>;
  using Operations = std::vector<OperationPtr>;

  Links& links() { return engine_->links(); }

  WorkPtr work(OpType type, Operations operations, Tensors results) {
    return c10::make_intrusive<ShmWork>(type, engine_, std::move(operations), std::move(results));
  }
  OperationPtr start(Task task, Tensors used, std::chrono::milliseconds timeout) {
    return engine_->start({}, std::move(task), std::move(used), timeout == c10d::kUnsetTimeout ? timeout_ : timeout);
  }
  OperationPtr exchange(Kind kind, std::vector<Part> sent, std::vector<Part> received, const Tensors& used,
                        std::chrono::milliseconds timeout) {
    return start(all_to_all(links(), kind, std::move(sent), std::move(received), tag_of(used.front())), used, timeout);
  }

  template <class Options>
  OperationPtr all_reduce_of(const at::Tensor& x, const Options& options) {
    const ReduceOp op = reduce_op(options.reduceOp);
    return start(all_reduce(links(), memory_of(x), Reducer(op, x.scalar_type()), tag_of(op, x)), {x}, options.timeout);
  }
  OperationPtr reduce_scatter_of(const at::Tensor& output, const at::Tensor& input,
                                 const c10d::ReduceScatterOptions& options) {
    TORCH_CHECK_VALUE(input.nbytes() == output.nbytes() * static_cast<size_t>(getSize()), "shm: expected an input of ",
                      getSize(), " times ", output.sizes(), ", got ", input.sizes());
    const ReduceOp op = reduce_op(options.reduceOp);
    return start(shm::reduce_scatter(links(), Kind::kReduceScatter, parts_of(memory_of(input), equal_parts(output)),
                                     memory_of(output).data, Reducer(op, input.scalar_type()), tag_of(op, input)),
                 {output, input}, options.timeout);
  }
  OperationPtr all_gather_of(const Tensors& outputs, const at::Tensor& input, const c10d::AllgatherOptions& options) {
    std::vector<std::byte*> parts;
    for (const at::Tensor& output : outputs) {
      TORCH_CHECK_VALUE(output.nbytes() == input.nbytes(), "shm: expected outputs of ", input.sizes(), ", got ",
                        output.sizes());
      parts.push_back(memory_of(output).data);
    }
    Tensors used = outputs;
    used.push_back(input);
    return start(all_gather(links(), memory_of(input), std::move(parts), tag_of(input)), std::move(used),
                 options.timeout);
  }
  OperationPtr all_gather_into(const at::Tensor& output, const at::Tensor& input,
                               const c10d::AllgatherOptions& options) {
    TORCH_CHECK_VALUE(output.nbytes() == input.nbytes() * static_cast<size_t>(getSize()), "shm: expected an output of ",
                      getSize(), " times ", input.sizes(), ", got ", output.sizes());
    std::vector<std::byte*> parts;
    for (const Part& part : parts_of(memory_of(output), equal_parts(input))) parts.push_back(part.data);
    return start(all_gather(links(), memory_of(input), std::move(parts), tag_of(input)), {output, input},
                 options.timeout);
  }

  std::vector<int64_t> equal_parts(const at::Tensor& part) const {
    return std::vector<int64_t>(static_cast<size_t>(getSize()), static_cast<int64_t>(part.nbytes()));
  }
  // Splits count rows of dimension 0; none: all are equal.
  std::vector<int64_t> bytes_of_splits(const at::Tensor& x, const std::vector<int64_t>& splits) const {
    const auto bytes = static_cast<int64_t>(x.nbytes());
    const int64_t rows = x.dim() > 0 ? x.size(0) : 1;
    if (splits.empty()) return std::vector<int64_t>(static_cast<size_t>(getSize()), bytes / getSize());
    std::vector<int64_t> parts;
    for (const int64_t split : splits) parts.push_back(rows > 0 ? split * (bytes / rows) : 0);
    return parts;
  }

  std::shared_ptr<Engine> engine_;
  std::chrono::milliseconds timeout_;
};

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_backend(std::unique_ptr<Links> links, std::chrono::milliseconds timeout) {
  return c10::make_intrusive<ShmBackend>(std::move(links), timeout);
}

}  // namespace titan::distributed::shm
