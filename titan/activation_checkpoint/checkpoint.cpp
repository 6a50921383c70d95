#include "titan/activation_checkpoint/checkpoint.h"

#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "titan/activation_checkpoint/kept_results.h"
#include "titan/activation_checkpoint/random_state.h"
#include "titan/nn/recomputation.h"
#include "titan/nn/saved_tensor_hooks.h"

namespace titan::activation_checkpoint {
namespace {

using torch::autograd::SavedVariableHooks;
using HookData = std::optional<std::pair<c10::SafePyObject, c10::SafePyObject>>;

struct StopRecomputation {};

struct Description {
  at::DimVector sizes;
  at::ScalarType dtype;
  at::Device device;

  explicit Description(const at::Tensor& tensor)
      : sizes(tensor.sizes()), dtype(tensor.scalar_type()), device(tensor.device()) {}
  bool operator==(const Description&) const = default;
  std::string text() const {
    return fmt::format("{}[{}] on {}", c10::toString(dtype), fmt::join(sizes, ", "), device.str());
  }
};

// One forward of a checkpointed module, and what it takes to run it again. Lives as long as the graph wants tensors.
class Frame : public std::enable_shared_from_this<Frame> {
 public:
  Frame(nn::Module& module, const CheckpointOptions& options, std::shared_ptr<CheckpointCounts> counts,
        nn::Inputs inputs, nn::Module::Forward forward)
      : module_(module), options_(options), counts_(std::move(counts)), forward_(std::move(forward)) {
    for (const at::Tensor* input : inputs) {
      inputs_.push_back({.tensor = nn::alias_of(*input),
                         .version = static_cast<int64_t>(input->_version()),
                         .requires_grad = input->requires_grad()});
    }
    if (options.preserve_rng_state) random_.emplace(inputs.empty() ? at::Device(at::kCPU) : inputs.front()->device());
    auto policy = options.make_policy ? options.make_policy() : nullptr;
    if (policy != nullptr && policy->observes()) observer_ = policy.get();
    if (policy != nullptr || options.debug) kept_ = std::make_unique<KeptResults>(std::move(policy), options.debug);
  }

  at::Tensor run(nn::Inputs inputs) {
    std::vector<at::Tensor> values;
    for (const at::Tensor* input : inputs) values.push_back(*input);
    Dropping dropping(*this);
    const nn::SavedTensorHooksGuard hooks(&dropping);
    std::optional<dtensor::ModeGuard> mode;
    if (kept_ != nullptr) mode.emplace(kept_->recording());
    at::Tensor output = forward_(values);
    if (observer_ != nullptr) observer_->on_end();
    ++counts_->forwards;
    counts_->input_bytes = 0;
    for (const Input& input : inputs_) counts_->input_bytes += static_cast<int64_t>(local_part(input.tensor).nbytes());
    counts_->kept_bytes = kept_ == nullptr ? 0 : kept_->num_bytes();
    return output;
  }

 private:
  struct Input {
    at::Tensor tensor;  // without history
    int64_t version;
    bool requires_grad;
  };

  // In the place of a tensor that a node wanted to keep.
  class Dropped : public SavedVariableHooks {
   public:
    explicit Dropped(std::shared_ptr<Frame> frame) : frame_(std::move(frame)) {}
    ~Dropped() override {
      if (index_) frame_->dropped_[*index_].hooks = nullptr;
    }
    Dropped(const Dropped&) = delete;
    Dropped& operator=(const Dropped&) = delete;

    void call_pack_hook(const at::Tensor& tensor) override {
      index_ = frame_->dropped_.size();
      frame_->dropped_.push_back({this, Description(tensor)});
      if (frame_->observer_ != nullptr) frame_->observer_->on_saved(tensor, frame_->is_given(tensor));
    }
    at::Tensor call_unpack_hook() override {
      if (!tensor_.defined()) frame_->recompute();
      return tensor_;
    }
    HookData retrieve_unpack_hook_data() const override { return std::nullopt; }

    void fill(at::Tensor tensor) { tensor_ = std::move(tensor); }

   private:
    std::shared_ptr<Frame> frame_;
    std::optional<size_t> index_;  // none: autograd asked for hooks and did without
    at::Tensor tensor_;            // once recomputed
  };

  class Dropping : public nn::SavedTensorHooks {
   public:
    explicit Dropping(Frame& frame) : frame_(frame) {}
    std::unique_ptr<SavedVariableHooks> make() override { return std::make_unique<Dropped>(frame_.shared_from_this()); }

   private:
    Frame& frame_;
  };

  // In the recomputation's graph, which nobody runs: hands the tensor to the node of the first graph that waits for it.
  class HandedOver : public SavedVariableHooks {
   public:
    explicit HandedOver(Frame& frame) : frame_(frame) {}
    void call_pack_hook(const at::Tensor& tensor) override { frame_.hand_over(tensor); }
    at::Tensor call_unpack_hook() override { TORCH_INTERNAL_ASSERT(false, "the graph of a recomputation was run"); }
    HookData retrieve_unpack_hook_data() const override { return std::nullopt; }

   private:
    Frame& frame_;
  };

  class HandingOver : public nn::SavedTensorHooks {
   public:
    explicit HandingOver(Frame& frame) : frame_(frame) {}
    std::unique_ptr<SavedVariableHooks> make() override { return std::make_unique<HandedOver>(frame_); }

   private:
    Frame& frame_;
  };

  struct Place {
    Dropped* hooks;  // null: no longer wanted
    Description description;
  };

  // Whether it shares memory with an input or a parameter.
  bool is_given(const at::Tensor& tensor) const {
    const auto shares = [&](const at::Tensor& other) {
      return local_part(other).storage().is_alias_of(local_part(tensor).storage());
    };
    const auto parameters = module_.parameters();
    return std::any_of(inputs_.begin(), inputs_.end(), [&](const Input& input) { return shares(input.tensor); }) ||
           std::any_of(parameters.begin(), parameters.end(), [&](const auto* slot) { return shares(slot->get()); });
  }

  void recompute() {
    ++counts_->recomputations;
    num_handed_over_ = 0;
    std::vector<at::Tensor> values;
    for (const Input& input : inputs_) {
      TORCH_CHECK(static_cast<int64_t>(input.tensor._version()) == input.version, where(),
                  "an input was written in place after the forward, so it cannot be computed again");
      values.push_back(nn::alias_of(input.tensor).set_requires_grad(input.requires_grad));
    }
    {
      const at::AutoGradMode with_gradients(true);
      const nn::Recomputation recomputation;
      const nn::CallSeries use(module_);  // outside of what is repeated, as in the first run
      HandingOver handing_over(*this);
      const nn::SavedTensorHooksGuard hooks(&handing_over);
      std::optional<RandomState::Return> random;
      if (random_) random.emplace(*random_);
      const std::unique_ptr<dtensor::Mode> replaying = kept_ == nullptr ? nullptr : kept_->replaying();
      std::optional<dtensor::ModeGuard> mode;
      if (replaying != nullptr) mode.emplace(*replaying);
      try {
        forward_(values);
      } catch (const StopRecomputation&) {
        return;
      }
    }
    TORCH_CHECK(num_handed_over_ == dropped_.size(), where(), "the forward left ", dropped_.size(),
                " tensors for the backward, its recomputation ", num_handed_over_, both_runs());
  }

  void hand_over(const at::Tensor& tensor) {
    const size_t index = num_handed_over_++;
    TORCH_CHECK(index < dropped_.size(), where(), "the forward left ", dropped_.size(),
                " tensors for the backward, its recomputation more", both_runs());
    const Place& place = dropped_[index];
    if (options_.check_determinism) {
      const Description again(tensor);
      TORCH_CHECK(again == place.description, where(), "tensor ", index, " that the backward needs was ",
                  place.description.text(), " in the forward and is ", again.text(), " in its recomputation",
                  both_runs());
    }
    if (place.hooks != nullptr) place.hooks->fill(nn::alias_of(tensor));
    if (options_.early_stop && num_handed_over_ == dropped_.size()) throw StopRecomputation();
  }

  std::string where() const { return fmt::format("activation checkpoint of {}: ", module_.fqn()); }

  std::string both_runs() const {
    if (!options_.debug) return "; activation_checkpoint.debug = true lists the operators of both";
    return fmt::format("\noperators of the forward:\n{}\nof its recomputation:\n{}", kept_->operators_before(),
                       kept_->operators_again());
  }

  nn::Module& module_;
  CheckpointOptions options_;
  std::shared_ptr<CheckpointCounts> counts_;
  nn::Module::Forward forward_;
  std::vector<Input> inputs_;
  std::optional<RandomState> random_;
  std::unique_ptr<KeptResults> kept_;
  OperatorPolicy* observer_ = nullptr;  // kept_'s
  std::vector<Place> dropped_;
  size_t num_handed_over_ = 0;
};

}  // namespace

std::shared_ptr<const CheckpointCounts> checkpoint(nn::Module& module, CheckpointOptions options) {
  auto counts = std::make_shared<CheckpointCounts>();
  module.set_around_hook([counts, options = std::move(options)](nn::Module& called, nn::Inputs inputs,
                                                                const nn::Module::Forward& forward) {
    if (!at::GradMode::is_enabled() || (options.applies && !options.applies())) {
      std::vector<at::Tensor> values;
      for (const at::Tensor* input : inputs) values.push_back(*input);
      return forward(values);
    }
    return std::make_shared<Frame>(called, options, counts, inputs, forward)->run(inputs);
  });
  return counts;
}

}  // namespace titan::activation_checkpoint
