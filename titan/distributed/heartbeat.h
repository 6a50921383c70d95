// Who of the job's ranks is still there. Every rank writes into the store, about twice a second, for how long it has
// been running. When an operation fails, the ranks that waited for it say so there, and read who stopped writing or
// failed by itself. Nothing here ends a job: it only gives a failure its reason. What else ranks must know of each
// other when something is wrong travels along: how far each has come, and the news that one failed or has waited long.
#pragma once

#include <c10/util/intrusive_ptr.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
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

  // --- what travels along ---

  // What `positions` returns, words without spaces, goes with every beat; it is called on the heartbeat's thread.
  void carry(std::function<std::string()> positions);

  // Another rank as its last beat shows it.
  struct Peer {
    bool is_silent = false;  // it runs, but has not been heard of for silent_after
    bool has_ended = false;  // it said goodbye
    std::chrono::milliseconds age{0};
    std::string positions;  // "" if it carries none
  };
  // These ranks, by rank. Empty if the store does not answer soon. Never throws.
  std::map<int64_t, Peer> look_at(const std::vector<int64_t>& ranks);

  // News reaches every rank that runs with its next beat, the author too: kFailed, once, that a rank failed; kSlow, at
  // any time, that one waits for others and has done so for long. `on_news` is called on the heartbeat's thread.
  enum class News { kSlow, kFailed };
  void tell(News news, const std::string& text);
  void on_news(std::function<void(News news, const std::string& text)> action);

  // Returns when every other rank has said goodbye, been told by blame() why it waited in vain, or fallen silent, or
  // after `patience`.
  void wait_for_others(std::chrono::milliseconds patience);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace titan::distributed
