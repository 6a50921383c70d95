// `titan verify`: runs one job under several layouts and shows, tensor by tensor, where they part from one device. It
// starts the ranks of each layout itself; the ranks do worker.h's part.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "titan/verify/layout.h"

namespace titan::verify {

struct VerifyOptions {
  std::vector<std::string> worker_command;  // the program and what makes it a worker; flags follow
  std::vector<std::string> train_flags;     // of `titan train`, the configuration file among them
  std::vector<Layout> layouts;
  int64_t num_steps = 5;
  int64_t global_batch_size = 1;
  bool config_is_bf16 = false;   // what a layout without dtype= is
  std::filesystem::path folder;  // for the runs' records; emptied first, removed at the end
};

// The flags that make a worker of VerifyOptions::worker_command; the verb reads them back.
struct WorkerFlags {
  static constexpr const char* kFolder = "--worker-folder=";
  static constexpr const char* kResults = "--worker-results=";
  static constexpr const char* kSteps = "--worker-steps=";
};

// The flags of `titan train` for one of the options' layouts; problems as flags_of. `layout` null: the reference, on
// one device in fp32.
std::vector<std::string> flags_for(const VerifyOptions& options, const Layout* layout, config::Problems& problems);

// Runs everything and prints a report on stdout, the last line of which is the verdict. Returns whether all layouts
// hold. Throws c10::Error if a run fails; its ranks have said why.
bool verify(const VerifyOptions& options);

}  // namespace titan::verify
