// A group of ranks that talk to each other. It is made by World::group and used through collectives.h and p2p.h; it
// moves nothing itself.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>
#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace c10d {
class Backend;
}

namespace titan::distributed {

class ProcessGroup;
class Heartbeat;
class Partwise;
struct Message;
namespace recorder {
struct Channel;
class FlightRecorder;
class Watchdog;
}  // namespace recorder

// An operation that a rank is about to begin, for tests that plant faults.
struct PlannedOperation {
  const char* name;
  const at::Tensor& tensor;              // whose shape stands in errors
  const std::vector<Message>* messages;  // of an exchange; else null
};

// Who looks on while a group works. Each may be null.
struct GroupObservers {
  std::string name;                                    // of the group, for people: "dp_shard"
  std::shared_ptr<Heartbeat> heartbeat;                // asked who fell silent when an operation fails
  std::shared_ptr<recorder::FlightRecorder> recorder;  // keeps every operation
  std::shared_ptr<recorder::Watchdog> watchdog;        // writes that down when one fails
  // Asked before each operation; false leaves it out, as if the program had not called it. Tests only.
  std::function<bool(const PlannedOperation& operation, ProcessGroup& group)> before_operation;
};

// Owned by shared_ptr. Used by one thread at a time.
class ProcessGroup : public std::enable_shared_from_this<ProcessGroup> {
 public:
  // Of `ranks` (of the job, ascending), where this one is the `rank`-th. `backend` serves tensors on the CPU and is
  // null for a group of one, which needs none: its collectives do nothing. `device_backend` serves those on a GPU and
  // is null where there are none.
  ProcessGroup(std::vector<int64_t> ranks, int64_t rank, c10::intrusive_ptr<c10d::Backend> backend,
               c10::intrusive_ptr<c10d::Backend> device_backend, std::chrono::milliseconds timeout,
               GroupObservers observers);
  ~ProcessGroup();
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;

  // Ranks of the job, ascending; an index into it is what the collectives call a rank of the group.
  const std::vector<int64_t>& ranks() const { return ranks_; }
  // This rank's index in ranks().
  int64_t rank() const { return rank_; }
  int64_t size() const { return static_cast<int64_t>(ranks_.size()); }
  // "ranks 0, 2, 4, 6".
  const std::string& name() const { return name_; }

  // The one for tensors on `device`. Null for a group of one. Throws c10::ValueError for a device that none serves.
  c10d::Backend* backend(at::Device device) const;
  // Who makes collectives in parts for tensors on the GPU (partwise.h); null: messages. The first call makes it, and is
  // collective.
  Partwise* device_partwise();
  void set_device_partwise(std::function<std::shared_ptr<Partwise>()> make) { make_device_partwise_ = std::move(make); }
  const GroupObservers& observers() const { return observers_; }

  // How long each later operation may take.
  void set_timeout(std::chrono::milliseconds timeout);
  std::chrono::milliseconds timeout() const { return timeout_; }

  // Numbers for the next collective, and for the next message to and from `peer`: equal on all ranks that take part.
  int64_t next_collective() { return num_collectives_++; }
  int next_send(int64_t peer) { return num_sent_[static_cast<size_t>(peer)]++ & kLargestTag; }
  int next_receive(int64_t peer) { return num_received_[static_cast<size_t>(peer)]++ & kLargestTag; }

  // What the recorder calls the collectives of this group, and the messages between this rank and `peer`; null without
  // a recorder.
  recorder::Channel* collectives() const { return collectives_; }
  recorder::Channel* messages_to(int64_t peer) { return messages(rank_, peer, messages_to_); }
  recorder::Channel* messages_from(int64_t peer) { return messages(peer, rank_, messages_from_); }

  // Leaves the connections as they are until the process ends, since closing them waits for what is under way: for a
  // job that has failed. The group is of no use afterwards.
  void abandon();

 private:
  static constexpr int64_t kLargestTag = 0x7fffffff;

  recorder::Channel* messages(int64_t sender, int64_t receiver, std::vector<recorder::Channel*>& known);

  std::vector<int64_t> ranks_;
  int64_t rank_;
  std::string name_;
  c10::intrusive_ptr<c10d::Backend> backend_, device_backend_;
  std::function<std::shared_ptr<Partwise>()> make_device_partwise_;  // until it is made
  std::shared_ptr<Partwise> device_partwise_;
  std::chrono::milliseconds timeout_;
  GroupObservers observers_;
  int64_t num_collectives_ = 0;
  std::vector<int64_t> num_sent_, num_received_;
  recorder::Channel* collectives_ = nullptr;
  std::vector<recorder::Channel*> messages_to_, messages_from_;  // by peer; null until there are some
};

// A word for a group that is the same on all its ranks and no other group's: "0,2,4", for large ones a hash.
std::string key_of_ranks(const std::vector<int64_t>& ranks);

// "rank 3", "ranks 0-7", "ranks 0, 2, 4, 6"; of many, the first few, the last and their number.
std::string name_of_ranks(const std::vector<int64_t>& ranks);

}  // namespace titan::distributed
