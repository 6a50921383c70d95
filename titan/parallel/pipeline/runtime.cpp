#include "titan/parallel/pipeline/runtime.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>

#include <map>
#include <memory>
#include <string>
#include <utility>

#include "titan/distributed/p2p.h"
#include "titan/distributed/recorder/served_module.h"
#include "titan/parallel/pipeline/schedule/lower.h"

namespace titan::pipeline {
namespace {

using distributed::Message;
using distributed::PendingTensors;
using enum ActionKind;

bool is_message(ActionKind kind) {
  return kind == kSendForward || kind == kRecvForward || kind == kSendBackward || kind == kRecvBackward;
}

// One rank's way through a schedule.
class Run {
 public:
  Run(const Schedule& lowered, const std::vector<std::shared_ptr<Stage>>& stages, distributed::ProcessGroup& group,
      const RunOptions& options)
      : lowered_(lowered), group_(group), options_(options) {
    for (const auto& stage : stages) stages_[stage->index()] = stage.get();
  }

  void go() {
    const std::vector<Action>& actions = lowered_.ranks.at(static_cast<size_t>(group_.rank()));
    for (size_t i = 0; i < actions.size();) {
      if (is_message(actions[i].kind)) {
        const size_t begin = i;
        while (i < actions.size() && is_message(actions[i].kind)) ++i;
        start_messages(std::span(actions).subspan(begin, i - begin));
        continue;
      }
      for (const Action& part : parts_of(actions[i])) act(part);
      ++i;
    }
    for (const auto& messages : sent_) messages->wait();
  }

 private:
  using Key = std::pair<int64_t, int64_t>;  // stage, microbatch

  // A tensor that a stage needs: there, or on its way.
  struct Arrival {
    at::Tensor tensor;
    std::shared_ptr<PendingTensors> messages;
    size_t index = 0;
  };
  using Arrivals = std::map<Key, Arrival>;

  Stage& stage(int64_t index) { return *stages_.at(index); }
  bool is_here(int64_t stage) const { return stages_.contains(stage); }

  void act(const Action& action) {
    const StageHooks& hooks = stage(action.stage).hooks();
    switch (action.kind) {
      case kForward:
        return forward(action);
      case kFullBackward:
        return backward(action, &Stage::backward);
      case kBackwardInput:
        return backward(action, &Stage::backward_input);
      case kBackwardWeight: {
        const Timer timer(*this, action);
        stage(action.stage).backward_weight(action.microbatch);
        return hooks.keep_gradients();
      }
      case kUnshard:
        return hooks.unshard();
      case kReshard:
        return hooks.reshard();
      case kReduceGrad:
        if (options_.reduce_gradients) hooks.reduce_gradients();
        return;
      default:
        TORCH_INTERNAL_ASSERT(false, "cannot run ", to_string(action));
    }
  }

  // Tells how long what happens in its lifetime takes.
  class Timer {
   public:
    Timer(const Run& run, const Action& action) : run_(run), action_(action), start_(RunOptions::Clock::now()) {}
    ~Timer() {
      if (run_.options_.on_compute) run_.options_.on_compute(action_, start_, RunOptions::Clock::now());
    }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

   private:
    const Run& run_;
    const Action& action_;
    RunOptions::Clock::time_point start_;
  };

  void forward(const Action& action) {
    const int64_t index = action.stage, microbatch = action.microbatch;
    const at::Tensor input = index == 0 ? at::Tensor() : take(inputs_, index, microbatch);
    const Timer timer(*this, action);
    at::Tensor output = stage(index).forward(microbatch, input);
    stage(index).hooks().keep_gradients();
    if (index + 1 == lowered_.shape.num_stages) return;
    const Boundary expected = options_.boundary(index + 1, microbatch);
    TORCH_CHECK(output.sizes() == expected.sizes && output.scalar_type() == expected.dtype, "pipeline: stage ", index,
                " hands on ", output.scalar_type(), output.sizes(), " where the next one awaits ", expected.dtype,
                at::IntArrayRef(expected.sizes));
    (is_here(index + 1) ? inputs_[{index + 1, microbatch}].tensor : outputs_[{index, microbatch}]) = std::move(output);
  }

  using Backward = at::Tensor (Stage::*)(int64_t, const at::Tensor&);

  void backward(const Action& action, Backward kind) {
    const int64_t index = action.stage, microbatch = action.microbatch;
    const bool from_loss = index + 1 == lowered_.shape.num_stages;
    const at::Tensor grad_output = from_loss ? at::Tensor() : take(gradients_, index, microbatch);
    const Timer timer(*this, action);
    hand_back(index, microbatch, (stage(index).*kind)(microbatch, grad_output));
    stage(index).hooks().keep_gradients();
  }

  void hand_back(int64_t index, int64_t microbatch, at::Tensor grad_input) {
    if (index == 0) return;
    (is_here(index - 1) ? gradients_[{index - 1, microbatch}].tensor : grad_inputs_[{index, microbatch}]) =
        std::move(grad_input);
  }

  at::Tensor take(Arrivals& arrivals, int64_t index, int64_t microbatch) {
    auto arrival = arrivals.extract({index, microbatch});
    TORCH_INTERNAL_ASSERT(!arrival.empty(), "stage ", index, ", microbatch ", microbatch, ": nothing has arrived");
    auto& [tensor, messages, place] = arrival.mapped();
    return messages == nullptr ? tensor : messages->wait()[place];
  }

  // [Note: messages without deadlock]
  void start_messages(std::span<const Action> actions) {
    std::vector<Message> messages;
    std::vector<Arrival*> arrivals;  // by message; null: it is sent
    for (const Action& action : actions) {
      const Key key{action.stage, action.microbatch};
      switch (action.kind) {
        case kSendForward:
          messages.push_back(distributed::send(std::move(outputs_.extract(key).mapped()), rank_of(action.stage + 1)));
          arrivals.push_back(nullptr);
          break;
        case kSendBackward:
          messages.push_back(
              distributed::send(std::move(grad_inputs_.extract(key).mapped()), rank_of(action.stage - 1)));
          arrivals.push_back(nullptr);
          break;
        case kRecvForward:
          messages.push_back(distributed::receive(empty(action.stage, action.microbatch), rank_of(action.stage - 1)));
          arrivals.push_back(&inputs_[key]);
          break;
        default:
          messages.push_back(
              distributed::receive(empty(action.stage + 1, action.microbatch), rank_of(action.stage + 1)));
          arrivals.push_back(&gradients_[key]);
      }
    }
    const distributed::recorder::ServedModule served(
        std::make_shared<const std::string>("stage " + std::to_string(actions.front().stage)));
    const auto pending = std::make_shared<PendingTensors>(distributed::exchange(std::move(messages), group_));
    bool sends = false;
    for (size_t i = 0; i < arrivals.size(); ++i) {
      if (arrivals[i] != nullptr) {
        *arrivals[i] = {.messages = pending, .index = i};
      } else {
        sends = true;
      }
    }
    std::erase_if(sent_, [](const auto& earlier) { return earlier->completed(); });  // their tensors can go
    if (sends) sent_.push_back(pending);
  }

  int64_t rank_of(int64_t stage) const { return lowered_.rank_of_stage.at(static_cast<size_t>(stage)); }

  at::Tensor empty(int64_t stage, int64_t microbatch) const {
    const Boundary boundary = options_.boundary(stage, microbatch);
    return at::empty(boundary.sizes, at::device(options_.device).dtype(boundary.dtype));
  }

  const Schedule& lowered_;
  distributed::ProcessGroup& group_;
  const RunOptions& options_;
  std::map<int64_t, Stage*> stages_;       // by index
  Arrivals inputs_, gradients_;            // of a stage's input and of its output's gradient
  std::map<Key, at::Tensor> outputs_;      // to be sent
  std::map<Key, at::Tensor> grad_inputs_;  // to be sent back
  std::vector<std::shared_ptr<PendingTensors>> sent_;
};

}  // namespace

void run_schedule(const Schedule& lowered, const std::vector<std::shared_ptr<Stage>>& stages,
                  distributed::ProcessGroup& group, const RunOptions& options) {
  Run(lowered, stages, group, options).go();
}

Schedule forward_only(const std::vector<int64_t>& rank_of_stage, int64_t num_ranks, int64_t num_microbatches) {
  const auto num_stages = static_cast<int64_t>(rank_of_stage.size());
  Schedule schedule{{num_ranks, num_stages, num_microbatches}, rank_of_stage, {}};
  schedule.ranks.resize(static_cast<size_t>(num_ranks));
  // Stage by stage, as in LoopedBFS: while one stage is busy with later microbatches, the next one begins.
  for (int64_t stage = 0; stage < num_stages; ++stage) {
    std::vector<Action>& actions = schedule.ranks.at(static_cast<size_t>(rank_of_stage[static_cast<size_t>(stage)]));
    for (int64_t microbatch = 0; microbatch < num_microbatches; ++microbatch) actions.push_back(F(stage, microbatch));
  }
  return lower(schedule);
}

}  // namespace titan::pipeline
