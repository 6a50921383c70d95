#include "titan/verify/record.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "titan/checkpoint/safetensors_writer.h"
#include "titan/checkpoint/tensor_reader.h"
#include "titan/kernels/sum_of_squares.h"

namespace titan::verify {
namespace {

using Tensors = std::map<std::string, at::Tensor>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr const char* kModel = "model.";
constexpr const char* kOptimizer = "optimizer.";

std::filesystem::path state_file(const std::filesystem::path& folder, int64_t step, const char* extension) {
  return folder / ("state-" + std::to_string(step) + extension);
}

std::filesystem::path gradients_file(const std::filesystem::path& folder, int64_t step) {
  return folder / ("gradients-" + std::to_string(step) + ".safetensors");
}

void write_tensors(const std::filesystem::path& file, const Tensors& tensors) {
  std::map<std::string, checkpoint::TensorInfo> infos;
  for (const auto& [name, tensor] : tensors) infos[name] = checkpoint::info_of(tensor);
  checkpoint::write_safetensors(file, infos, [&](const std::string& name) { return tensors.at(name); });
}

double sum_of_squares(const at::Tensor& x) { return kernels::sum_of_squares(x).item<double>(); }

double squared_distance(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return kInfinity;
  return sum_of_squares(a.to(at::kCPU, at::kDouble) - b.to(at::kDouble));
}

double relative(double squared_distance, double squared_norm) {
  return squared_distance == 0 ? 0 : std::sqrt(squared_distance / squared_norm);
}

// JSON has no infinity and no NaN; both mean "too far".
nlohmann::json to_json(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json("inf"); }
double to_double(const nlohmann::json& value) { return value.is_number() ? value.get<double>() : kInfinity; }

nlohmann::json to_json(const Differences& differences) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, value] : differences) json[name] = to_json(value);
  return json;
}

Differences to_differences(const nlohmann::json& json) {
  Differences differences;
  for (const auto& [name, value] : json.items()) differences[name] = to_double(value);
  return differences;
}

nlohmann::json to_json(const std::vector<double>& values) {
  nlohmann::json json = nlohmann::json::array();
  for (const double value : values) json.push_back(to_json(value));
  return json;
}

std::vector<double> to_doubles(const nlohmann::json& json) {
  std::vector<double> values;
  for (const auto& value : json) values.push_back(to_double(value));
  return values;
}

nlohmann::json read_json(const std::filesystem::path& file) {
  std::ifstream stream(file);
  TORCH_CHECK(stream.is_open(), "titan verify: cannot read ", file.string());
  return nlohmann::json::parse(stream);
}

void write_json(const std::filesystem::path& file, const nlohmann::json& json) {
  std::ofstream stream(file);
  stream << json.dump(1) << '\n';
  TORCH_CHECK(stream.good(), "titan verify: cannot write ", file.string());
}

}  // namespace

Differences compare(const Tensors& tensors, const Tensors& reference) {
  Differences differences;
  for (const auto& [name, expected] : reference) {
    const auto found = tensors.find(name);
    differences[name] = found == tensors.end()
                            ? kInfinity
                            : relative(squared_distance(found->second, expected), sum_of_squares(expected));
  }
  for (const auto& [name, tensor] : tensors) {
    if (!reference.contains(name)) differences[name] = kInfinity;
  }
  return differences;
}

double compare_whole(const Tensors& tensors, const Tensors& reference) {
  double distance = tensors.size() == reference.size() ? 0 : kInfinity, norm = 0;
  for (const auto& [name, expected] : reference) {
    const auto found = tensors.find(name);
    distance += found == tensors.end() ? kInfinity : squared_distance(found->second, expected);
    norm += sum_of_squares(expected);
  }
  return relative(distance, norm);
}

Differences adam_slack(const Tensors& gradients, const Tensors& reference_gradients,
                       const Tensors& reference_parameters, double lr, double eps) {
  Differences slack;
  for (const auto& [name, reference] : reference_gradients) {
    const auto found = gradients.find(name);
    const auto parameter = reference_parameters.find(name);
    if (found == gradients.end() || parameter == reference_parameters.end() ||
        found->second.sizes() != reference.sizes()) {
      continue;  // infinitely far already
    }
    const at::Tensor expected = reference.to(at::kDouble);
    const at::Tensor bound =
        ((found->second.to(at::kCPU, at::kDouble) - expected).abs() / (expected.abs() + eps)).clamp_max(2);
    slack[name] = lr * relative(sum_of_squares(bound), sum_of_squares(parameter->second));
  }
  return slack;
}

void save_state(const std::filesystem::path& folder, int64_t step, const checkpoint::TrainState& state) {
  Tensors all;
  for (const auto& [name, tensor] : state.model) all[kModel + name] = tensor;
  for (const auto& [name, tensor] : state.optimizer) all[kOptimizer + name] = tensor;
  write_tensors(state_file(folder, step, ".safetensors"), all);
  write_json(state_file(folder, step, ".json"), state.counters);
}

void load_state(const std::filesystem::path& folder, int64_t step, checkpoint::TrainState& state) {
  at::NoGradGuard no_grad;
  const auto stored = checkpoint::open_tensors(state_file(folder, step, ".safetensors"));
  for (auto& [name, tensor] : state.model) tensor.copy_(stored->read(kModel + name));
  for (auto& [name, tensor] : state.optimizer) tensor.copy_(stored->read(kOptimizer + name));
  state.counters = read_json(state_file(folder, step, ".json")).get<std::map<std::string, int64_t>>();
}

Tensors read_model(const std::filesystem::path& folder, int64_t step) {
  const auto stored = checkpoint::open_tensors(state_file(folder, step, ".safetensors"));
  Tensors model;
  for (const auto& [name, info] : stored->tensors()) {
    if (name.starts_with(kModel)) model[name.substr(std::string_view(kModel).size())] = stored->read(name);
  }
  return model;
}

void save_gradients(const std::filesystem::path& folder, int64_t step, const Tensors& gradients) {
  write_tensors(gradients_file(folder, step), gradients);
}

Tensors read_gradients(const std::filesystem::path& folder, int64_t step) {
  const auto stored = checkpoint::open_tensors(gradients_file(folder, step));
  Tensors gradients;
  for (const auto& [name, info] : stored->tensors()) gradients[name] = stored->read(name);
  return gradients;
}

void save_comparison(const std::filesystem::path& file, const Comparison& comparison) {
  nlohmann::json steps = nlohmann::json::array();
  for (const StepComparison& step : comparison.steps) {
    steps.push_back({{"loss", to_json(step.loss)},
                     {"grad_norm", to_json(step.grad_norm)},
                     {"gradients", to_json(step.gradients)},
                     {"parameters", to_json(step.parameters)},
                     {"parameter_slack", to_json(step.parameter_slack)},
                     {"all_gradients", to_json(step.all_gradients)},
                     {"all_parameters", to_json(step.all_parameters)}});
  }
  write_json(file, {{"initial_parameters", to_json(comparison.initial_parameters)},
                    {"free_losses", to_json(comparison.free_losses)},
                    {"free_grad_norms", to_json(comparison.free_grad_norms)},
                    {"steps", steps}});
}

Comparison read_comparison(const std::filesystem::path& file) {
  const nlohmann::json json = read_json(file);
  Comparison comparison{.initial_parameters = to_differences(json.at("initial_parameters")),
                        .free_losses = to_doubles(json.at("free_losses")),
                        .free_grad_norms = to_doubles(json.at("free_grad_norms"))};
  for (const auto& step : json.at("steps")) {
    comparison.steps.push_back({.loss = to_double(step.at("loss")),
                                .grad_norm = to_double(step.at("grad_norm")),
                                .gradients = to_differences(step.at("gradients")),
                                .parameters = to_differences(step.at("parameters")),
                                .parameter_slack = to_differences(step.at("parameter_slack")),
                                .all_gradients = to_double(step.at("all_gradients")),
                                .all_parameters = to_double(step.at("all_parameters"))});
  }
  return comparison;
}

}  // namespace titan::verify
