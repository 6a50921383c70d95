// The flight recorder, written down: one file per rank, a pickle that both `titan trace` and PyTorch's
// torch.distributed.flight_recorder.fr_trace read. That tool knows NCCL's operations only, so names begin with "nccl:"
// whatever the backend, which stands in the group's description; and it pairs operations by group and number, so the
// messages from one rank to another are a group of two of their own. What only `titan trace` reads is under "titan",
// and in keys of entries that the tool passes over.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

namespace titan::distributed::recorder {

class FlightRecorder;

// Why there is a dump.
enum class Reason {  // the stronger the later
  kAsked,            // SIGUSR1
  kSlow,             // an operation, here or elsewhere, has taken half of its timeout
  kElsewhere,        // another rank failed
  kOperation,        // an operation of this rank failed, or ended the program
  kException,        // this rank failed by itself
};
// "asked", "slow", ...
const char* name_of(Reason reason);

struct DumpHeader {
  int64_t rank = 0, world_size = 1;
  Reason reason = Reason::kAsked;
  std::string message;  // what it was about, in words; may be empty
};

// The file's content.
std::string to_pickle(const FlightRecorder& recorder, const DumpHeader& header);

// Makes the file appear whole, with its folder, replacing an older one. Throws c10::Error naming the path and the
// system's reason.
void write_dump(const FlightRecorder& recorder, const DumpHeader& header, const std::filesystem::path& path);

}  // namespace titan::distributed::recorder
