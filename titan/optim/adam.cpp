#include "titan/optim/adam.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_addcdiv.h>
#include <ATen/ops/_foreach_addcmul.h>
#include <ATen/ops/_foreach_div.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_mul.h>
#include <ATen/ops/_foreach_sqrt.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adam.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <cmath>

#include "titan/config/job_config.h"
#include "titan/dtensor/dtensor.h"

namespace titan::optim {

// The tensors of those parameters that have a gradient, in parallel lists as ATen's operators take them.
struct Adam::Tensors {
  std::vector<at::Tensor> parameters, gradients, exp_avgs, exp_avg_sqs, steps;
};

AdamOptions adam_options_from(const config::Optimizer& config) {
  TORCH_CHECK_VALUE(config.name == "AdamW" || config.name == "Adam", "optimizer.name: expected AdamW or Adam, got '",
                    config.name, "'");
  const auto implementation = [&] {
    if (config.implementation == "fused") return Implementation::kFused;
    if (config.implementation == "foreach") return Implementation::kForeach;
    if (config.implementation == "for-loop") return Implementation::kForLoop;
    TORCH_CHECK_VALUE(false, "optimizer.implementation: expected fused, foreach or for-loop, got '",
                      config.implementation, "'");
  };
  return {.beta1 = config.beta1,
          .beta2 = config.beta2,
          .eps = config.eps,
          .weight_decay = config.weight_decay,
          .decoupled_weight_decay = config.name == "AdamW",
          .implementation = implementation()};
}

namespace {

// Adam works element by element, so each rank updates what it has of a DTensor.
const at::Tensor& part_of(const at::Tensor& tensor) {
  return dtensor::is_dtensor(tensor) ? dtensor::local_of(tensor) : tensor;
}

at::Tensor placed_like(const at::Tensor& parameter, const at::Tensor& gradient) {
  if (!dtensor::is_dtensor(parameter)) return gradient;
  return dtensor::redistribute(gradient, dtensor::placements_of(parameter));
}

}  // namespace

Adam::Adam(std::vector<nn::Parameter*> parameters, const AdamOptions& options)
    : parameters_(std::move(parameters)), options_(options) {
  at::NoGradGuard no_grad;
  for (const nn::Parameter* parameter : parameters_) {
    exp_avgs_.push_back(at::zeros_like(parameter->get()));
    exp_avg_sqs_.push_back(at::zeros_like(parameter->get()));
    const bool on_device = options.implementation == Implementation::kFused;
    steps_.push_back(at::zeros({}, at::device(on_device ? parameter->get().device() : at::kCPU).dtype(at::kFloat)));
  }
}

void Adam::step(double lr, const at::Tensor& skip) {
  TORCH_INTERNAL_ASSERT(!skip.defined() || skips_on_device());
  at::NoGradGuard no_grad;
  Tensors all;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const at::Tensor& parameter = parameters_[i]->get();
    if (!parameter.grad().defined()) continue;
    all.parameters.push_back(part_of(parameter));
    all.gradients.push_back(part_of(placed_like(parameter, parameter.grad())));
    all.exp_avgs.push_back(part_of(exp_avgs_[i]));
    all.exp_avg_sqs.push_back(part_of(exp_avg_sqs_[i]));
    all.steps.push_back(steps_[i]);
  }
  if (all.parameters.empty()) return;
  at::_foreach_add_(all.steps, 1);
  if (skip.defined()) at::_foreach_sub_(all.steps, std::vector<at::Tensor>(all.steps.size(), skip));

  switch (options_.implementation) {
    case Implementation::kFused: {
      const auto fused = [&](auto&& update) {
        update(all.parameters, all.gradients, all.exp_avgs, all.exp_avg_sqs, /*max_exp_avg_sqs=*/at::TensorList{},
               all.steps, lr, options_.beta1, options_.beta2, options_.weight_decay, options_.eps, /*amsgrad=*/false,
               /*maximize=*/false, /*grad_scale=*/std::nullopt,
               /*found_inf=*/skip.defined() ? std::optional(skip) : std::nullopt);
      };
      if (options_.decoupled_weight_decay) {
        fused([](auto&&... args) { at::_fused_adamw_(args...); });
      } else {
        fused([](auto&&... args) { at::_fused_adam_(args...); });
      }
      return;
    }
    case Implementation::kForeach:
      return step_foreach(all, lr);
    case Implementation::kForLoop:
      for (size_t i = 0; i < all.parameters.size(); ++i) {
        Tensors one{{all.parameters[i]}, {all.gradients[i]}, {all.exp_avgs[i]}, {all.exp_avg_sqs[i]}, {all.steps[i]}};
        step_foreach(one, lr);
      }
      return;
  }
}

void Adam::step_foreach(Tensors& t, double lr) {
  if (options_.weight_decay != 0) {
    if (options_.decoupled_weight_decay) {
      at::_foreach_mul_(t.parameters, 1 - lr * options_.weight_decay);
    } else {
      t.gradients = at::_foreach_add(t.gradients, t.parameters, options_.weight_decay);
    }
  }
  at::_foreach_lerp_(t.exp_avgs, t.gradients, 1 - options_.beta1);
  at::_foreach_mul_(t.exp_avg_sqs, options_.beta2);
  at::_foreach_addcmul_(t.exp_avg_sqs, t.gradients, t.gradients, 1 - options_.beta2);

  // All parameters that get gradients have got them since the first step, so their step counts are equal unless a
  // checkpoint said otherwise; each tensor has its own correction all the same.
  std::vector<at::Scalar> step_sizes, corrections;
  for (const at::Tensor& step : t.steps) {
    const double count = step.item<double>();
    step_sizes.emplace_back(-lr / (1 - std::pow(options_.beta1, count)));
    corrections.emplace_back(std::sqrt(1 - std::pow(options_.beta2, count)));
  }
  std::vector<at::Tensor> denominators = at::_foreach_sqrt(t.exp_avg_sqs);
  at::_foreach_div_(denominators, corrections);
  at::_foreach_add_(denominators, options_.eps);
  at::_foreach_addcdiv_(t.parameters, t.exp_avgs, denominators, step_sizes);
}

void Adam::zero_grad() {
  for (const nn::Parameter* parameter : parameters_) parameter->get().mutable_grad().reset();
}

std::map<std::string, at::Tensor> Adam::gradients() const {
  std::map<std::string, at::Tensor> found;
  for (const nn::Parameter* parameter : parameters_) {
    if (parameter->get().grad().defined()) found[parameter->fqn()] = parameter->get().grad();
  }
  return found;
}

std::map<std::string, at::Tensor> Adam::state() const {
  std::map<std::string, at::Tensor> by_name;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    const std::string prefix = "state." + parameters_[i]->fqn();
    by_name[prefix + ".exp_avg"] = exp_avgs_[i];
    by_name[prefix + ".exp_avg_sq"] = exp_avg_sqs_[i];
    by_name[prefix + ".step"] = steps_[i];
  }
  return by_name;
}

}  // namespace titan::optim
