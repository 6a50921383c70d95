// Who of the job's ranks is still there. Every rank writes into the store, about twice a second, for how long it has
// been running. When an operation fails, the ranks that waited for it say so there, and read who stopped writing or
// failed by itself. Nothing here ends a job: it only gives a failure its reason.
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
  std::chrono::milliseconds silent_after{3000};  // a rank not heard of for so long has stopped or is gone
};

// Thread-safe. Its thread ends with it; should it hang in a store that no longer answers, it is left behind, and keeps
// neither this object nor the process alive.
class Heartbeat {
 public:
  // All ranks make it at about the same time: times are counted from here. `store` is used by this object alone.
  // `store_host` is who to blame when the store does not answer: "rank 0".
  Heartbeat(c10::intrusive_ptr<c10d::Store> store, int64_t rank, int64_t world_size, std::string store_host,
            HeartbeatOptions options = {});
  // Says that this rank is done, unless it said goodbye before.
  ~Heartbeat();
  Heartbeat(const Heartbeat&) = delete;
  Heartbeat& operator=(const Heartbeat&) = delete;

  // This rank's last word: it is done, or it failed by itself. A rank that waited in vain for others, see blame,
  // remains one that waited.
  enum class Ending { kDone, kFailed };
  void say_goodbye(Ending ending);
  // Whether this rank is one that waited in vain.
  bool waited() const;

  // To be called when an operation among `ranks` failed: tells the others that this rank waited in it, and finds out
  // who is to blame: "rank 2 has not been heard of for 93 s", "rank 1 failed by itself", or, where all are there,
  // what each waited in. All ranks of the job give the same answer where they can. Takes up to silent_after and a few
  // intervals, since a rank that just died was heard of just now. Never throws.
  std::string blame(const std::string& operation, const std::vector<int64_t>& ranks);

  // Returns when every other rank has said goodbye, been told by blame() why it waited in vain, or fallen silent, or
  // after `patience`.
  void wait_for_others(std::chrono::milliseconds patience);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace titan::distributed
