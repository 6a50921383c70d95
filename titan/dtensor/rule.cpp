#include "titan/dtensor/rule.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include "titan/dtensor/rules/families.h"

namespace titan::dtensor {

void RuleTable::add(std::initializer_list<std::string_view> operators, const Rule& rule) {
  for (const std::string_view op : operators) {
    const bool is_new = entries_.emplace(op, Entry{rule, family_}).second;
    TORCH_INTERNAL_ASSERT(is_new, "two sharding rules for ", std::string(op));
  }
}

void RuleTable::add_with_variants(std::initializer_list<std::string_view> operators, const Rule& rule) {
  auto& dispatcher = c10::Dispatcher::singleton();
  for (const std::string_view op : operators) {
    const size_t dot = op.find('.');
    const std::string name(op.substr(0, dot)), overload(dot == op.npos ? "" : op.substr(dot + 1));
    add({op}, rule);
    const auto add_if_there = [&](const std::string& variant, const std::string& its_overload) {
      if (!dispatcher.findSchema({variant, its_overload}).has_value()) return false;
      add({its_overload.empty() ? variant : fmt::format("{}.{}", variant, its_overload)}, rule);
      return true;
    };
    add_if_there(fmt::format("{}_", name), overload);
    const bool has_own_out = !overload.empty() && add_if_there(name, fmt::format("{}_out", overload));
    if (!has_own_out && (overload.empty() || overload == "Tensor")) add_if_there(name, "out");
  }
}

const Rule* RuleTable::find(std::string_view op) const {
  const auto found = entries_.find(op);
  return found == entries_.end() ? nullptr : &found->second.rule;
}

const RuleTable& rule_table() {
  static const RuleTable table = [] {
    RuleTable made;
    add_pointwise_rules(made);
    add_reduction_rules(made);
    add_matmul_rules(made);
    add_view_rules(made);
    add_copy_rules(made);
    add_factory_rules(made);
    add_indexing_rules(made);
    add_normalization_rules(made);
    add_attention_rules(made);
    add_loss_rules(made);
    add_random_rules(made);
    add_optimizer_rules(made);
    add_own_rules(made);
    return made;
  }();
  return table;
}

}  // namespace titan::dtensor
