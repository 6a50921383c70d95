// SIGUSR1 asks for a dump of the flight recorder. It is counted here; recorder::Watchdog looks.
#pragma once

#include <cstdint>

namespace titan::distributed::recorder {

// Process-wide. A handler of the program's own stays. Until the first call the signal ends the process.
void catch_dump_signal();

// How often it has come.
int64_t num_dump_signals();

}  // namespace titan::distributed::recorder
