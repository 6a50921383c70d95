#include "titan/verify/worker.h"

#include <fmt/format.h>

#include "titan/verify/record.h"

namespace titan::verify {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

// Records a step's gradients.
class Recorder : public train::StepObserver {
 public:
  Recorder(const std::filesystem::path& folder, const train::Trainer& trainer) : folder_(folder), trainer_(trainer) {}
  void on_gradients(int64_t step, const Tensors& gradients) override {
    save_gradients(folder_, step, trainer_.whole(gradients));
  }

 private:
  std::filesystem::path folder_;
  const train::Trainer& trainer_;
};

// Compares a step's gradients, after `faults` has had them.
class Comparer : public train::StepObserver {
 public:
  Comparer(const std::filesystem::path& folder, const train::Trainer& trainer, train::StepObserver* faults)
      : folder_(folder), trainer_(trainer), faults_(faults) {}

  void on_batches(int64_t step, std::vector<data::Batch>& batches) override {
    if (faults_ != nullptr) faults_->on_batches(step, batches);
  }
  void on_gradients(int64_t step, const Tensors& gradients) override {
    if (faults_ != nullptr) faults_->on_gradients(step, gradients);
    reference = read_gradients(folder_, step);
    own.clear();
    for (const auto& [name, gradient] : trainer_.whole(gradients))
      own[name] = gradient.clone();  // clipping is in place
    differences = compare(own, reference);
    difference_of_all = compare_whole(own, reference);
  }
  void on_clipped(int64_t step, const Tensors& gradients) override {
    if (faults_ != nullptr) faults_->on_clipped(step, gradients);
  }

  Differences differences;
  double difference_of_all = 0;
  Tensors own, reference;  // gradients before clipping

 private:
  std::filesystem::path folder_;
  const train::Trainer& trainer_;
  train::StepObserver* faults_;
};

}  // namespace

void record_reference(const config::JobConfig& job, const models::ModelSpec& spec,
                      std::shared_ptr<distributed::World> world, const device::ComputeDevice& device,
                      const WorkerOptions& options) {
  train::Trainer trainer(job, spec, std::move(world), device);
  Recorder recorder(options.folder, trainer);
  Comparison comparison;
  save_state(options.folder, 0, trainer.state());
  for (int64_t step = 1; step <= options.num_steps; ++step) {
    const train::StepResult result = trainer.step(&recorder);
    save_state(options.folder, step, trainer.state());
    comparison.free_losses.push_back(result.loss);
    comparison.free_grad_norms.push_back(result.grad_norm);
    comparison.steps.push_back({.loss = result.loss, .grad_norm = result.grad_norm});
  }
  save_comparison(options.folder / "reference.json", comparison);
}

void compare_with_reference(const config::JobConfig& job, const models::ModelSpec& spec,
                            std::shared_ptr<distributed::World> world, const device::ComputeDevice& device,
                            const WorkerOptions& options, train::StepObserver* faults) {
  const int64_t rank = world->rank();
  train::Trainer trainer(job, spec, std::move(world), device);
  Comparison comparison;
  comparison.initial_parameters = compare(trainer.state().model, read_model(options.folder, 0));

  for (int64_t step = 1; step <= options.num_steps; ++step) {
    const train::StepResult result = trainer.step(faults);
    comparison.free_losses.push_back(result.loss);
    comparison.free_grad_norms.push_back(result.grad_norm);
  }

  Comparer comparer(options.folder, trainer, faults);
  for (int64_t step = 1; step <= options.num_steps; ++step) {
    checkpoint::TrainState state = trainer.state();
    load_state(options.folder, step - 1, state);
    trainer.set_state(state);
    const train::StepResult result = trainer.step(&comparer);
    const Tensors parameters = trainer.state().model, reference = read_model(options.folder, step);
    comparison.steps.push_back(
        {.loss = result.loss,
         .grad_norm = result.grad_norm,
         .gradients = comparer.differences,
         .parameters = compare(parameters, reference),
         .parameter_slack = adam_slack(comparer.own, comparer.reference, reference, result.lr, job.optimizer.eps),
         .all_gradients = comparer.difference_of_all,
         .all_parameters = compare_whole(parameters, reference)});
  }
  save_comparison(options.results / fmt::format("rank{}.json", rank), comparison);
}

}  // namespace titan::verify
