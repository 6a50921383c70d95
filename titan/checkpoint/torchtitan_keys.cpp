#include "titan/checkpoint/torchtitan_keys.h"

#include "titan/config/job_config.h"

namespace titan::checkpoint {

std::string_view section_beside_model(std::string_view name) {
  for (const std::string_view section : {"optimizer", "lr_scheduler", "dataloader", "train_state"}) {
    if (name.starts_with(section) && name.substr(section.size()).starts_with('.')) return section;
  }
  return {};
}

std::map<std::string, PlainValue> torchtitan_values(const config::Optimizer& optimizer,
                                                    const std::map<std::string, at::Tensor>& model, double lr,
                                                    int64_t last_epoch) {
  std::map<std::string, PlainValue> values;
  for (const auto& [fqn, parameter] : model) {
    const auto set = [&values, &fqn = fqn](const char* option, PlainValue value) {
      values["optimizer.param_groups." + fqn + "." + option] = std::move(value);
    };
    set("lr", lr);
    set("initial_lr", optimizer.lr);
    set("betas", FloatTuple{{optimizer.beta1, optimizer.beta2}});
    set("eps", optimizer.eps);
    set("weight_decay", optimizer.weight_decay);
    set("decoupled_weight_decay", optimizer.name == "AdamW");
    set("fused", optimizer.implementation == "fused");
    set("foreach", optimizer.implementation == "foreach");
    for (const char* unused : {"amsgrad", "maximize", "capturable", "differentiable"}) set(unused, false);
  }
  values["lr_scheduler.base_lrs"] = FloatList{{optimizer.lr}};
  values["lr_scheduler._last_lr"] = FloatList{{lr}};
  values["lr_scheduler._step_count"] = last_epoch + 1;
  values["lr_scheduler._is_initial"] = false;
  values["lr_scheduler._get_lr_called_within_step"] = false;
  return values;
}

}  // namespace titan::checkpoint
