// What the flight recorder keeps of one operation between ranks, and of the line of operations it stands in.
#pragma once

#include <c10/core/ScalarType.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "titan/distributed/recorder/served_module.h"

namespace titan::distributed::recorder {

// Operations that all its ranks begin in the same order, so that one number names the same operation on all of them:
// the collectives of a process group, or the messages that one rank sends to another in it.
struct Channel {
  std::string key;             // the same on all ranks, and no other channel's: "0,1,2,3", "0,1,2,3:3>1"; no spaces
  std::string name;            // for people: "dp_shard", "pp 3->1"
  std::string backend;         // who moves the bytes: "shm"
  std::vector<int64_t> ranks;  // of the job, ascending: all of the group, or the two
  int64_t sender = -1;         // of messages: an index into ranks, the other one receives; -1: collectives

  // How far this rank has come: the numbers of the last operations begun and over. Guarded by the recorder.
  int64_t last_begun = -1, last_done = -1;

  bool is_messages() const { return sender >= 0; }
};

struct Shape {
  std::vector<int64_t> sizes;
  at::ScalarType dtype = at::ScalarType::Undefined;  // there is no such tensor
};

// Times are nanoseconds since 1970, so that dumps of several machines compare as well as their clocks; 0: not yet.
struct Record {
  int64_t id = -1;  // of this rank's operations, in their order
  Channel* channel = nullptr;
  int64_t sequence = 0;           // in its channel
  const char* operation = "";     // as callers know it: "all_gather_into"
  const char* backend_call = "";  // as c10d calls it: "_all_gather_base"
  Shape input, output;            // as they go to the backend, but in the caller's dtype
  ModuleName module;              // whose data it carries; null: nobody said
  std::chrono::milliseconds timeout{0};
  int64_t enqueued_ns = 0;
  int64_t started_ns = 0;  // the backend has it
  int64_t waiting_ns = 0;  // the caller blocks, or on a GPU its stream does
  int64_t done_ns = 0;     // seen to be over
};

}  // namespace titan::distributed::recorder
