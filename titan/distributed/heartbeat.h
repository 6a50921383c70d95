// Who of the job's ranks is still there. Every rank writes into the store, about twice a second, how long it has
// been running; when an operation fails, the survivors read from that who stopped writing, and say in the store what
// they themselves were waiting for. Nothing here ends a job: it only gives a failure its reason.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace c10d {
class Store;
}

namespace titan::distributed {

struct HeartbeatOptions {
  std::chrono::milliseconds interval{500};
  std::chrono::milliseconds silent_after{3000};  // a rank not heard of for so long counts as stopped or gone
};

// Thread-safe. Its thread ends with it; one that hangs in a store which no longer answers is left behind, and keeps
// neither this object nor the process alive.
class Heartbeat {
 public:
  // All ranks make it at about the same time: times are counted from here. `store` is used by this object alone.
  // `store_host` is what to blame when the store does not answer: "rank 0".
  Heartbeat(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size, std::string store_host,
            HeartbeatOptions options = {});
  // Says goodbye, see say_goodbye.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // This rank's last word, once: it ended well, or by an error of its own (not by one in waiting for others).
  enum class Ending { kDone, kFailed };
  void say_goodbye(Ending ending);

  // To be called when an operation with `ranks` failed: tells the others that this rank waited (`what` it waited
  // for), and finds out who is to blame: "rank 2 has not been heard of for 93 s", "rank 1 ended with an error of its
  // own", or, where all are there, what each of them waits for. Takes up to silent_after and a little more, since a
  // rank that just died was heard of just now. Never throws.
  std::string blame(const std::string& what, const std::vector<int64_t>& ranks);

  // Waits until every other rank said goodbye or fell silent, for as long as `timeout` at most.
  void wait_for_others(std::chrono::milliseconds timeout);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace titan::distributed
