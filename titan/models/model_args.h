// model.args.*, which every family reads into its own sizes: what is set replaces the flavour's.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace titan::config {
class Problems;
struct JobConfig;
}  // namespace titan::config

namespace titan::models {

// Gives `to` the value of `from`, if that is set.
template <class To, class From>
void take(To& to, const std::optional<From>& from) {
  if (from.has_value()) to = static_cast<To>(*from);
}

// Adds a line for every key of model.args that is set and is not in `known` ("dim",
// "rope_scaling_args.scaling_factor"): the model has no such size, so it would be without effect.
void check_args_are_known(const config::JobConfig& job, const std::vector<std::string_view>& known,
                          config::Problems& problems);

}  // namespace titan::models
