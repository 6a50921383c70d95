// From a command line and a TOML file to a JobConfig: command line over TOML over defaults. The reader knows names
// and types; ranges and contradictions are in check.h, what works yet in availability.h.
//
// Flags are TorchTitan's: --section.key value, --section.key=value, --section.flag, --section.no-flag, lists by
// commas; dashes and underscores are the same; the last one wins; `--x -1` is a value; "None" unsets what can be unset.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "titan/config/job_config.h"
#include "titan/config/problems.h"

namespace titan::config {

struct Reading {
  JobConfig config;
  std::vector<std::string> notes;  // one line for each key that was read under an older name: for a warning
  bool help = false;               // --help or -h was among the arguments
};

// Reads `arguments` (what follows the verb) and the file that --job.config_file names. Unknown keys (with the nearest
// known one), wrong types, an unreadable file become lines of `problems`; their keys keep what they had.
Reading read(const std::vector<std::string>& arguments, Problems& problems);

// Reads TOML from memory over `reading`; `source` stands in the lines about its syntax.
void read_toml(std::string_view text, std::string_view source, Reading& reading, Problems& problems);

}  // namespace titan::config
