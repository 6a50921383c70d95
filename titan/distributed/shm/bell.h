// How one rank sleeps until another has something for it: an event count on a futex, in memory that processes share.
// Ringing costs a load where nobody sleeps. It carries no message; who wakes looks for itself what has changed.
// [Note: no lost wake-up] The ringer stores something, then looks whether anybody sleeps; the sleeper enlists, then
// looks whether it was stored. All four are sequentially consistent, so at least one of the two sees the other. What
// is stored and looked at must be, too.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

namespace titan::distributed::shm {

// Lives in shared memory, where zeros are a new bell.
class alignas(64) Bell {
 public:
  // Wakes all who sleep. Called after what they wait for was stored: [Note: no lost wake-up].
  void ring();

  // To sleep: enlist(), look once more for what is waited for, then either sleep() with what enlist() returned, or
  // leave(). A ring in between is not lost.
  uint32_t enlist();
  void leave() { num_sleepers_.fetch_sub(1); }
  // Returns after a ring, after `patience`, or for no reason at all; leaves.
  void sleep(uint32_t ticket, std::chrono::nanoseconds patience);

 private:
  std::atomic<uint32_t> num_rings_;
  std::atomic<uint32_t> num_sleepers_;
};
static_assert(sizeof(Bell) == 64 && std::atomic<uint32_t>::is_always_lock_free);

}  // namespace titan::distributed::shm
