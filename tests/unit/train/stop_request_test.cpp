#include "titan/train/stop_request.h"

#include <gtest/gtest.h>
#include <signal.h>

namespace titan::train {
namespace {

TEST(StopRequest, NothingIsAskedForAtFirst) { EXPECT_EQ(StopRequest(std::nullopt).reason(), std::nullopt); }

TEST(StopRequest, SignalsAreAskedForByName) {
  for (const auto& [signal, name] : {std::pair(SIGINT, "SIGINT"), std::pair(SIGTERM, "SIGTERM")}) {
    const StopRequest stop(std::nullopt);
    raise(signal);
    EXPECT_EQ(stop.reason(), name);
  }
}

// A supervisor signals a process group, and the launcher passes the signal on besides.
TEST(StopRequest, TheSameSignalAtOnceAgainDoesNotKill) {
  const StopRequest stop(std::nullopt);
  raise(SIGTERM);
  raise(SIGTERM);
  EXPECT_EQ(stop.reason(), "SIGTERM");
}

TEST(StopRequest, TimeLimitIsAReason) {
  EXPECT_EQ(StopRequest(1e-9).reason(), "training.max_seconds (1e-09) are over");
  EXPECT_EQ(StopRequest(1e9).reason(), std::nullopt);
}

}  // namespace
}  // namespace titan::train
