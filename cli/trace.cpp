// titan trace: reads what the ranks' flight recorders wrote, and says what happened.
#include <c10/util/Exception.h>

#include <cstdio>

#include "cli/own_flags.h"
#include "cli/verbs.h"
#include "titan/trace/dump_file.h"
#include "titan/trace/ranks_together.h"
#include "titan/trace/report.h"

namespace titan::cli {
namespace {

constexpr const char* kUsage =
    "usage: titan trace FOLDER [--json] [--prefix PREFIX]\n\n"
    "Reads the dumps of all ranks' flight recorders in FOLDER (<job.dump_folder>/<comm.save_traces_folder>) and says\n"
    "what happened: which rank never reached which collective, who came with another shape or in another order, who\n"
    "died, who comes late. Ranks write dumps when an operation fails or has taken half of its timeout, when a rank\n"
    "fails, and on SIGUSR1.\n\n"
    "  --json           the same for programs, as one line\n"
    "  --prefix PREFIX  how the dumps' names begin (comm.save_traces_file_prefix), where FOLDER has others too\n";

}  // namespace

int run_trace(const Arguments& arguments) {
  std::string folder, prefix;
  bool json = false;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == "--help" || arguments[i] == "-h") {
      std::fputs(kUsage, stdout);
      return 0;
    }
    if (arguments[i] == "--json") {
      json = true;
    } else if (const auto value = value_of_flag("--prefix", arguments, i)) {
      prefix = *value;
    } else {
      TORCH_CHECK_VALUE(!arguments[i].starts_with("-"), "titan trace: expected --json or --prefix, got '", arguments[i],
                        "'; `titan trace --help` says more");
      TORCH_CHECK_VALUE(folder.empty(), "titan trace: expected one folder, got '", folder, "' and '", arguments[i],
                        "'");
      folder = arguments[i];
    }
  }
  TORCH_CHECK_VALUE(!folder.empty(), "titan trace: expected a folder of dumps; `titan trace --help` says more");
  const trace::RanksTogether ranks(trace::read_folder(folder, prefix));
  std::fputs((json ? trace::to_json(ranks) : trace::to_text(ranks)).c_str(), stdout);
  return 0;
}

}  // namespace titan::cli
