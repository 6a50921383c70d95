// What one rank's flight recorder wrote down (distributed/recorder/dump.h), read back. It judges nothing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace titan::trace {

// Operations that all its ranks begin in the same order: the collectives of a group, or the messages from one rank to
// another in it.
struct Channel {
  std::string key;             // names it in all dumps
  std::string name, backend;   // "dp_shard", "shm"
  std::vector<int64_t> ranks;  // of the job, ascending
  bool is_messages = false;
};

struct Shape {
  std::vector<int64_t> sizes;
  std::string dtype;  // "": there is no tensor
  bool operator==(const Shape&) const = default;
};

// Times are nanoseconds since 1970; 0: it had not happened.
struct Operation {
  int64_t id = 0;        // of this rank's
  std::string channel;   // its key
  int64_t sequence = 0;  // in the channel
  std::string name;      // "all_gather_into"
  Shape input, output;
  std::string module;  // "": nobody said
  int64_t enqueued_ns = 0, waiting_ns = 0, done_ns = 0;
};

struct Dump {
  int64_t rank = 0, world_size = 1;
  std::string host, reason, message;
  int64_t time_ns = 0;  // when it was written
  std::map<std::string, Channel> channels;
  std::vector<Operation> operations;  // in the order of their beginnings; the first ones may be lost
};

// Throws c10::ValueError, one line with the path, if the file is no dump of ours.
Dump read_dump(const std::filesystem::path& path);

// Every dump in `folder`, by rank. Its files are those named <prefix><rank>; without a prefix, all that end in digits
// and begin alike. Throws c10::ValueError if there is none, or a rank has two.
std::vector<Dump> read_folder(const std::filesystem::path& folder, std::string_view prefix = "");

}  // namespace titan::trace
