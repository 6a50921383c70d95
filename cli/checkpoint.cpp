// titan checkpoint ls|show|verify|diff|prune: looks at checkpoints, and removes old ones.
#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>

#include "cli/verbs.h"
#include "titan/checkpoint/checkpoint_folder.h"
#include "titan/checkpoint/inspect.h"

namespace titan::cli {
namespace {

void print(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::printf("%s\n", line.c_str());
}

checkpoint::CheckpointFolder folder_at(const std::string& path) {
  TORCH_CHECK_VALUE(std::filesystem::is_directory(path), path, ": expected a folder of checkpoints (step-N), got none");
  return checkpoint::CheckpointFolder(path);
}

void prune(const std::string& path, int64_t keep) {
  TORCH_CHECK_VALUE(keep >= 1, "--keep: expected at least 1, got ", keep);
  const auto folder = folder_at(path);
  const auto before = folder.steps();
  if (before.empty()) return;
  folder.remove_old(keep, before.back());
  std::printf("%zu of %zu checkpoints are left\n", folder.steps().size(), before.size());
}

}  // namespace

int run_checkpoint(const Arguments& arguments) {
  CLI::App app("List, show, verify, compare and remove checkpoints.", "titan checkpoint");
  app.require_subcommand(1);
  std::string path, other;
  int64_t keep = 0;
  const auto add = [&](const char* name, const char* help, const char* what) {
    CLI::App* const verb = app.add_subcommand(name, help);
    verb->add_option("PATH", path, what)->required();
    return verb;
  };
  CLI::App* const ls = add("ls", "One line for each checkpoint of a run.", "folder with step-N in it");
  CLI::App* const show = add("show", "Every tensor and object of one checkpoint.", "a checkpoint");
  CLI::App* const verify = add("verify", "Read all of a checkpoint and check it.", "a checkpoint");
  CLI::App* const diff =
      add("diff", "How far the tensors of two checkpoints are apart; exit code 1 if they are.", "a checkpoint");
  diff->add_option("OTHER", other, "another one")->required();
  CLI::App* const prune_verb = add("prune", "Remove all but the newest checkpoints of a run.", "folder with step-N");
  prune_verb->add_option("--keep", keep, "how many stay")->required()->take_last();
  try {
    app.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes them from the end
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help
    TORCH_CHECK_VALUE(false, error.what(), "; `titan checkpoint --help` says more");
  }
  int code = 0;
  if (*ls) print(checkpoint::list(folder_at(path)));
  if (*show) print(checkpoint::describe(path));
  if (*verify) print({checkpoint::verify_contents(path)});
  if (*diff) {
    const auto lines = checkpoint::differences(path, other);
    print(lines.empty() ? std::vector<std::string>{"no difference"} : lines);
    code = lines.empty() ? 0 : 1;
  }
  if (*prune_verb) prune(path, keep);
  TORCH_CHECK(std::fflush(stdout) == 0, "stdout cannot be written");
  return code;
}

}  // namespace titan::cli
