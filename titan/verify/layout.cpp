#include "titan/verify/layout.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

namespace titan::verify {
namespace {

std::string without_spaces(std::string_view text) {
  std::string kept;
  for (const char c : text) {
    if (c != ' ' && c != '\t' && c != '\n') kept += c;
  }
  return kept;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::optional<int64_t> positive(const std::string& text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1) return std::nullopt;
  return value;
}

// One name of the language: what its value must be, and where it goes. Returns false if the value does not fit.
struct Item {
  std::string_view name;
  std::string_view expected;
  std::function<bool(Layout&, const std::string&)> set;
};

Item number(std::string_view name, int64_t Layout::*member) {
  return {name, "a number of at least 1", [member](Layout& layout, const std::string& value) {
            const auto parsed = positive(value);
            if (parsed.has_value()) layout.*member = *parsed;
            return parsed.has_value();
          }};
}

Item on_off(std::string_view name, std::optional<bool> Layout::*member) {
  return {name, "on or off", [member](Layout& layout, const std::string& value) {
            if (value != "on" && value != "off") return false;
            layout.*member = value == "on";
            return true;
          }};
}

// What is no mode of activation checkpointing is an option of mode selective.
bool is_ac_mode(std::string_view text) {
  for (const std::string_view mode : {"none", "full", "memory_budget", "auto", "offload"}) {
    if (text == mode) return true;
  }
  return false;
}

const std::vector<Item>& items() {
  static const std::vector<Item> all = {
      number("dp_replicate", &Layout::dp_replicate),
      number("dp_shard", &Layout::dp_shard),
      number("tp", &Layout::tp),
      number("pp", &Layout::pp),
      number("cp", &Layout::cp),
      number("accum", &Layout::accum),
      {"microbatches", "a number of at least 1",
       [](Layout& layout, const std::string& value) { return (layout.microbatches = positive(value)).has_value(); }},
      {"schedule", "a pipeline schedule",
       [](Layout& layout, const std::string& value) { return !(layout.schedule = value)->empty(); }},
      {"ac", "none, full, op, a number, memory_budget, auto or offload",
       [](Layout& layout, const std::string& value) {
         layout.ac = value;
         return is_ac_mode(value) || value == "op" || positive(value).has_value();
       }},
      {"dtype", "fp32 or bf16",
       [](Layout& layout, const std::string& value) {
         layout.dtype = value;
         return value == "fp32" || value == "bf16";
       }},
      on_off("sp", &Layout::sp),
      on_off("loss_parallel", &Layout::loss_parallel),
      on_off("async_tp", &Layout::async_tp),
      {"rotate", "allgather or alltoall",
       [](Layout& layout, const std::string& value) {
         layout.rotate = value;
         return value == "allgather" || value == "alltoall";
       }},
      on_off("balance", &Layout::balance),
  };
  return all;
}

void parse_item(const std::string& text, Layout& layout, config::Problems& problems) {
  const size_t equals = text.find('=');
  const std::string name = text.substr(0, equals);
  const auto item = std::find_if(items().begin(), items().end(), [&](const Item& i) { return i.name == name; });
  if (item == items().end()) {
    std::vector<std::string_view> names;
    for (const Item& known : items()) names.push_back(known.name);
    problems.add(fmt::format("--layouts: '{}': expected one of {}", name, fmt::join(names, ", ")));
    return;
  }
  const std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
  if (!item->set(layout, value)) {
    problems.add(fmt::format("--layouts: {}: expected {}, got '{}'", name, item->expected, value));
  }
}

}  // namespace

std::vector<Layout> parse_layouts(std::string_view text, config::Problems& problems) {
  std::vector<Layout> layouts;
  for (const std::string& part : split(without_spaces(text), ';')) {
    Layout& layout = layouts.emplace_back();
    const auto parts = split(part, ',');
    layout.text = fmt::format("{}", fmt::join(parts, ", "));
    for (const std::string& item : parts) parse_item(item, layout, problems);
  }
  if (layouts.empty()) problems.add("--layouts: expected at least one layout, as in \"dp_replicate=2; tp=2, accum=2\"");
  return layouts;
}

std::vector<std::string> flags_of(const Layout& layout, int64_t global_batch_size, config::Problems& problems) {
  const int64_t parts = layout.batch_degree() * layout.accum;
  const int64_t local_batch_size = global_batch_size / parts;
  if (global_batch_size % parts != 0) {
    problems.add(
        fmt::format("--layouts: {}: the global batch of {} samples must be a multiple of dp_replicate x "
                    "dp_shard x accum ({}); set training.global_batch_size",
                    layout.text, global_batch_size, parts));
  }
  std::vector<std::string> flags{
      fmt::format("--parallelism.data_parallel_replicate_degree={}", layout.dp_replicate),
      fmt::format("--parallelism.data_parallel_shard_degree={}", layout.dp_shard),
      fmt::format("--parallelism.tensor_parallel_degree={}", layout.tp),
      fmt::format("--parallelism.pipeline_parallel_degree={}", layout.pp),
      fmt::format("--parallelism.context_parallel_degree={}", layout.cp),
      fmt::format("--training.global_batch_size={}", global_batch_size),
      fmt::format("--training.local_batch_size={}", local_batch_size),
  };
  if (layout.microbatches.has_value()) {
    if (local_batch_size % *layout.microbatches != 0) {
      problems.add(fmt::format("--layouts: {}: {} samples a rank cannot be cut into {} microbatches", layout.text,
                               local_batch_size, *layout.microbatches));
    }
    flags.push_back(fmt::format("--parallelism.pipeline_parallel_microbatch_size={}",
                                std::max<int64_t>(1, local_batch_size / *layout.microbatches)));
  }
  if (layout.schedule.has_value()) {
    flags.push_back("--parallelism.pipeline_parallel_schedule=" + *layout.schedule);
  }
  if (layout.ac.has_value()) {
    const bool selective = !is_ac_mode(*layout.ac);
    flags.push_back("--activation_checkpoint.mode=" + (selective ? "selective" : *layout.ac));
    if (selective) flags.push_back("--activation_checkpoint.selective_ac_option=" + *layout.ac);
  }
  if (layout.dtype.has_value()) {
    flags.push_back(std::string("--training.mixed_precision_param=") +
                    (*layout.dtype == "bf16" ? "bfloat16" : "float32"));
  }
  const auto flag = [&](std::string_view key, std::optional<bool> value) {
    if (!value.has_value()) return;
    const size_t dot = key.rfind('.') + 1;
    flags.push_back(fmt::format("--{}{}{}", key.substr(0, dot), *value ? "" : "no-", key.substr(dot)));
  };
  const auto negated = [](std::optional<bool> value) { return value ? std::optional(!*value) : std::nullopt; };
  flag("parallelism.disable_sequence_parallel", negated(layout.sp));
  flag("parallelism.disable_loss_parallel", negated(layout.loss_parallel));
  flag("parallelism.enable_async_tensor_parallel", layout.async_tp);
  if (layout.rotate.has_value()) {
    flags.push_back("--parallelism.context_parallel_rotate_method=" + *layout.rotate);
  }
  if (layout.balance.has_value()) {
    flags.push_back(std::string("--parallelism.context_parallel_load_balancer=") +
                    (*layout.balance ? "headtail" : "None"));
  }
  return flags;
}

}  // namespace titan::verify
