// titan config: shows, checks and documents configurations. It trains nothing and asks no GPU.
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <charconv>
#include <cstdio>
#include <optional>

#include "cli/job.h"
#include "cli/verbs.h"
#include "titan/config/check.h"
#include "titan/config/reader.h"
#include "titan/config/writer.h"
#include "titan/optim/lr_schedule.h"

namespace titan::cli {
namespace {

constexpr const char* kUsage =
    "usage: titan config --print [--section.key value ...]\n"
    "       titan config --check [FILE] [--world-size N] [--section.key value ...]\n"
    "       titan config --docs\n\n"
    "  --print         print the effective configuration as TOML\n"
    "  --check         say whether the configuration is valid on N ranks, whatever works yet; exit code 1 if it is "
    "not.\n"
    "                  Without --world-size, the fewest ranks that its degrees allow. Files that are not on this\n"
    "                  machine are no error here.\n"
    "  --docs          print docs/config.md\n"
    "\n`titan train --help` lists the keys.\n";

struct Options {
  bool print = false;
  bool check = false;
  bool docs = false;
  std::optional<int64_t> world_size;
  Arguments flags;  // what is left: flags of the job
};

int64_t read_world_size(const std::string& text) {
  int64_t world_size = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), world_size);
  TORCH_CHECK_VALUE(error == std::errc() && end == text.data() + text.size() && world_size >= 1,
                    "--world-size: expected an integer of at least 1, got \"", text, "\"");
  return world_size;
}

Options read_options(const Arguments& arguments) {
  Options options;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    const bool has_next = i + 1 < arguments.size();
    if (argument == "--print") {
      options.print = true;
    } else if (argument == "--docs") {
      options.docs = true;
    } else if (argument == "--check") {
      options.check = true;
      if (has_next && !arguments[i + 1].starts_with("-")) {
        options.flags.push_back("--job.config_file=" + arguments[++i]);
      }
    } else if (argument == "--world-size" || argument == "--world_size") {
      TORCH_CHECK_VALUE(has_next, argument, ": expected a number of ranks after it, got none");
      options.world_size = read_world_size(arguments[++i]);
    } else if (argument.starts_with("--world-size=") || argument.starts_with("--world_size=")) {
      options.world_size = read_world_size(argument.substr(argument.find('=') + 1));
    } else {
      options.flags.push_back(argument);
    }
  }
  return options;
}

void print_notes(const std::vector<std::string>& notes) {
  for (const std::string& note : notes) std::fprintf(stderr, "titan config: note: %s\n", note.c_str());
}

int check(const config::Reading& reading, const Options& options, config::Problems& problems) {
  const int64_t world_size = options.world_size.value_or(config::smallest_world_size(reading.config));
  std::vector<std::string> notes = reading.notes;
  config::check(reading.config, world_size, problems, notes);
  if (const models::ModelSpec* const model = find_model(reading.config, problems)) {
    model->check(reading.config, problems);
  }
  config::Problems missing_files;
  config::check_files(reading.config, missing_files);
  notes.insert(notes.end(), missing_files.lines().begin(), missing_files.lines().end());
  problems.throw_if_any();  // before the notes, which would hide them
  const optim::LrSchedule schedule(reading.config.lr_scheduler, reading.config.training.steps);
  notes.insert(notes.end(), schedule.warnings().begin(), schedule.warnings().end());
  print_notes(notes);
  std::printf("valid on %lld rank%s\n", static_cast<long long>(world_size), world_size == 1 ? "" : "s");
  return 0;
}

}  // namespace

int run_config(const Arguments& arguments) {
  const Options options = read_options(arguments);
  config::Problems problems;
  const config::Reading reading = config::read(options.flags, problems);
  if (reading.help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  TORCH_CHECK_VALUE(options.print + options.check + options.docs == 1,
                    "expected one of --print, --check and --docs; `titan config --help` says more");
  if (options.check) return check(reading, options, problems);
  problems.throw_if_any();
  print_notes(reading.notes);
  std::fputs((options.docs ? config::docs() : config::to_toml(reading.config)).c_str(), stdout);
  return 0;
}

}  // namespace titan::cli
