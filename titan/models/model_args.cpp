#include "titan/models/model_args.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "titan/config/fields.h"
#include "titan/config/problems.h"

namespace titan::models {

void check_args_are_known(const config::JobConfig& job, const std::vector<std::string_view>& known,
                          config::Problems& problems) {
  constexpr std::string_view kArgs = "model.args.";
  config::JobConfig copy = job;
  for (const config::Field& field : config::fields_of(copy)) {
    if (!field.key.starts_with(kArgs) || !config::to_toml(field).has_value()) continue;
    const std::string_view name = std::string_view(field.key).substr(kArgs.size());
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    problems.add(fmt::format("{}: {} has no such size; it has {}", field.key, job.model.name, fmt::join(known, ", ")));
  }
}

}  // namespace titan::models
