// A job's keys written out: the effective configuration as TOML, the help of `titan train`, the page docs/config.md.
#pragma once

#include <string>

#include "titan/config/job_config.h"

namespace titan::config {

// Every key with its value, one [table] per section; unset keys stand as comments. Reads back to the same
// configuration; job.config_file is left out, since it says where a configuration was read, not what it is.
std::string to_toml(const JobConfig& config);

// All flags of `titan train` with meaning, range, default and state.
std::string help();

// The text of docs/config.md.
std::string docs();

// Writes to_toml(config) to job.dump_folder / job.save_config_file, if that is set, and makes the folders on the way.
void save_if_asked(const JobConfig& config);

}  // namespace titan::config
