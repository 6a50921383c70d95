// Whether a process of this machine still runs, known by its id and the time it started, so that another one that got
// the same id is not taken for it.
#pragma once

#include <cstdint>

namespace titan::distributed::shm {

struct Process {
  int64_t pid = 0;
  uint64_t start_time = 0;  // in ticks since the machine's start, as /proc/<pid>/stat has it

  static Process self();
  // False also for a process that has ended but whose parent has not asked for its exit code.
  bool runs() const;
};

}  // namespace titan::distributed::shm
