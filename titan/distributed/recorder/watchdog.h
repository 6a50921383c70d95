// Looks after a rank's flight recorder on a thread of its own, which goes on where the program hangs: it notices what
// operations are over, says at half of an operation's timeout what is stuck and who is missing, while everybody is
// still there to be looked at, and writes dumps: when that happens, when an operation or a rank fails, when the program
// terminates, on SIGUSR1. It ends nothing and decides nothing.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "titan/distributed/heartbeat.h"
#include "titan/distributed/recorder/dump.h"
#include "titan/distributed/recorder/flight_recorder.h"
#include "titan/distributed/recorder/last_words.h"

namespace titan::distributed::recorder {

struct WatchdogOptions {
  std::filesystem::path dump_path;  // empty: nothing is written
  std::chrono::milliseconds interval{100};
};

// Thread-safe.
class Watchdog {
 public:
  // `heartbeat` may be null, where nobody else is there.
  Watchdog(std::shared_ptr<FlightRecorder> recorder, std::shared_ptr<Heartbeat> heartbeat, int64_t rank,
           int64_t world_size, WatchdogOptions options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  // Writes a dump now. What is written does not give way to a lesser reason. Where it cannot be written, a warning says
  // so: a job fails for its own reason.
  void dump(Reason reason, const std::string& message);

 private:
  struct Shared;
  void run();
  void look_for_slow_operations();
  void announce(const Record& record, std::chrono::milliseconds age);

  std::shared_ptr<Shared> shared_;
  std::shared_ptr<Heartbeat> heartbeat_;
  std::chrono::milliseconds interval_;
  // The thread's own: the record that was announced last, and the signals that were answered.
  int64_t announced_ = -1, signals_seen_ = 0;
  std::unique_ptr<LastWords> last_words_;
  std::thread thread_;
};

// What stands in each beat of a rank: "<channel>=<last begun>;...", behind "<channel>:<number>;" of what it waits in.
std::string positions_of(const FlightRecorder& recorder);

// What is known of an operation that `record` shows one of its ranks waiting in: "rank 3 has not reached it, its last
// was 811; ranks 0-2 wait". Others are known by their positions, and by their absence.
struct Standing {
  std::vector<int64_t> waiting;  // that have reached it, this one among them
  std::string text;
};
Standing standing_of(const Record& record, int64_t rank, const std::map<int64_t, Heartbeat::Peer>& peers);

}  // namespace titan::distributed::recorder
