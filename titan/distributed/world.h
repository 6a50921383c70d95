// All ranks of a job: how they find each other (a c10d store that rank 0 serves at master_addr:master_port, or
// torchrun's agent), the groups they form, who of them is still there, and the flight recorder of what they do. It
// knows no axes; see device_mesh.h.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "titan/distributed/backend.h"
#include "titan/distributed/partwise.h"
#include "titan/distributed/process_group.h"
#include "titan/distributed/rank_info.h"

namespace titan::distributed {

struct RecorderOptions {
  int64_t capacity = 20000;         // operations that the flight recorder keeps; 0: there is none
  std::filesystem::path dump_path;  // of this rank; empty: none is written
};

struct WorldOptions {
  std::string backend = "auto";                                      // by name, see backend.h
  BackendFactory make_backend;                                       // instead of the one named
  BackendFactory make_device_backend;                                // for tensors on a GPU; null: there is none
  PartwiseFactory make_device_partwise;                              // for those, too; null: messages
  std::chrono::milliseconds init_timeout = std::chrono::minutes(5);  // comm.init_timeout_seconds
  RecorderOptions recorder;
  // For tests that plant faults: GroupObservers::before_operation of every group.
  std::function<bool(const PlannedOperation& operation, ProcessGroup& group)> before_operation;
};

class Heartbeat;

class World {
 public:
  // Collective: returns once all ranks are there. Throws one line: c10::ValueError if MASTER_ADDR, MASTER_PORT, RANK
  // or WORLD_SIZE is wrong, at once where it can be known; c10::Error naming the ranks that are missing after
  // init_timeout. A world of one and a fake one open no socket; any other ignores SIGPIPE, process-wide, so that
  // writing to a dead rank is an error of the operation and not the end of this one.
  World(RankInfo info, WorldOptions options);

  // The same on a store that is there already; ranks that are threads share a c10d::HashStore.
  World(RankInfo info, c10::intrusive_ptr<c10d::Store> store, WorldOptions options);

  // Says goodbye to the others; while an exception flies, that this rank failed. Whoever serves the store waits for
  // the goodbyes of all, in a failure a second or two at most. Then connections stay open until the process ends.
  ~World();
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  int64_t rank() const { return info_.rank; }
  int64_t size() const { return info_.world_size; }
  const RankInfo& info() const { return info_; }
  const std::string& backend() const { return options_.backend; }

  // For keys of this job only.
  c10d::Store& store() { return *store_; }

  // The group of these ranks of the job, made at the first call: collective over them, and where ranks share several
  // groups they must first ask for them in the same order. One object per set of ranks, whatever the order given.
  // Throws c10::ValueError if a rank is out of range or double, or this one is not among them.
  std::shared_ptr<ProcessGroup> group(std::vector<int64_t> ranks);
  // Of all ranks.
  std::shared_ptr<ProcessGroup> group();

  // What people call the group of these ranks, in the flight recorder's words; to be said before group() makes it,
  // alike on all of them. The first name stands.
  void name_group(std::vector<int64_t> ranks, const std::string& name);

  // How long an operation may take, for every group there is and will be; until then it is init_timeout. What is
  // under way keeps the old one. Every rank calls it at the same step.
  void set_timeout(std::chrono::milliseconds timeout);

 private:
  void record_operations();
  void join(std::chrono::steady_clock::time_point deadline);

  RankInfo info_;
  WorldOptions options_;
  std::chrono::milliseconds timeout_;
  std::string local_address_;
  c10::intrusive_ptr<c10d::Store> store_;
  std::shared_ptr<Heartbeat> heartbeat_;                // null where nobody else is there to be heard
  std::shared_ptr<recorder::FlightRecorder> recorder_;  // null: off, or nobody else is there
  std::shared_ptr<recorder::Watchdog> watchdog_;        // with it
  std::map<std::vector<int64_t>, std::string> names_;
  std::map<std::vector<int64_t>, std::shared_ptr<ProcessGroup>> groups_;
};

}  // namespace titan::distributed
