// A group of ranks that talk to each other. It is made by World::group and used through collectives.h and p2p.h; it
// moves nothing itself.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace c10d {
class Backend;
class ProcessGroup;
class Store;
}  // namespace c10d

namespace titan::distributed {

class Heartbeat;

class ProcessGroup {
 public:
  // Of `ranks` (of the job, ascending), where this one is the `rank`-th. `backend` is null for a group of one, which
  // needs none: its collectives do nothing. `heartbeat`, which may be null, is asked who fell silent when an
  // operation fails.
  ProcessGroup(std::vector<int64_t> ranks, int64_t rank, c10::intrusive_ptr<c10d::Store> store,
               c10::intrusive_ptr<c10d::Backend> backend, std::shared_ptr<Heartbeat> heartbeat);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  // Ranks of the job, ascending; an index into it is what the collectives call a rank of the group.
  const std::vector<int64_t>& ranks() const { return ranks_; }
  // This rank's index in ranks().
  int64_t rank() const { return rank_; }
  int64_t size() const { return static_cast<int64_t>(ranks_.size()); }
  // "ranks 0, 2, 4, 6": one name per set of ranks.
  const std::string& name() const { return name_; }

  // Null for a group of one.
  c10d::ProcessGroup* c10d() const { return c10d_.get(); }
  c10d::Backend* backend() const { return backend_.get(); }
  Heartbeat* heartbeat() const { return heartbeat_.get(); }

  // How long each later operation may take.
  void set_timeout(std::chrono::milliseconds timeout);
  std::chrono::milliseconds timeout() const { return timeout_; }

  // Forgets the connections without closing them, since closing waits for operations under way: for a job that
  // has failed.
  void abandon();

 private:
  std::vector<int64_t> ranks_;
  int64_t rank_;
  std::string name_;
  std::chrono::milliseconds timeout_{};
  c10::intrusive_ptr<c10d::Backend> backend_;
  c10::intrusive_ptr<c10d::ProcessGroup> c10d_;
  std::shared_ptr<Heartbeat> heartbeat_;
};

// "ranks 0, 2, 4, 6", "ranks 0-7"; of many that follow no pattern, the first few and their number.
std::string name_of_ranks(const std::vector<int64_t>& ranks);

}  // namespace titan::distributed
