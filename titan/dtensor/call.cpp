#include "titan/dtensor/call.h"

#include <c10/core/WrapDimMinimal.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace titan::dtensor {

bool Call::has_argument(std::string_view name) const { return schema.argumentIndexWithName(name).has_value(); }

const c10::IValue& Call::argument(std::string_view name) const {
  const auto index = schema.argumentIndexWithName(name);
  TORCH_INTERNAL_ASSERT(index.has_value(), schema.name(), " has no argument '", std::string(name), "'");
  return arguments[static_cast<size_t>(*index)];
}

std::vector<int64_t> Call::integers(std::string_view name) const {
  const c10::IValue& value = argument(name);
  if (value.isNone()) return {};
  if (value.isInt()) return {value.toInt()};
  return value.toIntVector();
}

int64_t Call::dim(std::string_view name, const Operand& operand) const {
  return c10::maybe_wrap_dim(integer(name), operand.dim());
}

const Operand* Call::find(std::string_view name) const {
  const auto argument = schema.argumentIndexWithName(name);
  TORCH_INTERNAL_ASSERT(argument.has_value(), schema.name(), " has no argument '", std::string(name), "'");
  const auto found = std::find_if(operands.begin(), operands.end(),
                                  [&](const Operand& operand) { return operand.argument == *argument; });
  return found == operands.end() ? nullptr : &*found;
}

const Operand& Call::operand(std::string_view name) const {
  const Operand* const found = find(name);
  TORCH_INTERNAL_ASSERT(found != nullptr, schema.name(), " has no tensor at '", std::string(name), "'");
  return *found;
}

size_t Call::index_of(std::string_view name) const { return static_cast<size_t>(&operand(name) - operands.data()); }

Strategy Call::strategy(std::initializer_list<std::pair<std::string_view, Placement>> inputs,
                        std::vector<Placement> results) const {
  Strategy strategy{Placements(operands.size()), std::move(results)};
  for (const auto& [name, placement] : inputs) {
    if (find(name) != nullptr) strategy.inputs[index_of(name)] = placement;
  }
  strategy.outputs.resize(outputs.size());
  return strategy;
}

std::vector<Placement> Call::partials() const {
  std::vector<Placement> found;
  for (const Operand& operand : operands) {
    if (operand.spec == nullptr) continue;
    for (const Placement& placement : operand.spec->placements) {
      if (placement.is_partial() && std::find(found.begin(), found.end(), placement) == found.end()) {
        found.push_back(placement);
      }
    }
  }
  return found;
}

std::string Call::text() const {
  std::string text = schema.name() + (schema.overload_name().empty() ? "" : "." + schema.overload_name()) + "(";
  for (size_t i = 0; i < operands.size(); ++i) {
    const Operand& operand = operands[i];
    text += (i == 0 ? "" : ", ") + schema.arguments()[static_cast<size_t>(operand.argument)].name() + ": ";
    text += operand.spec != nullptr ? to_string(*operand.spec)
                                    : fmt::format("plain {}[{}]", c10::toString(operand.meta.scalar_type()),
                                                  fmt::join(operand.sizes(), ", "));
  }
  return text + ")";
}

}  // namespace titan::dtensor
