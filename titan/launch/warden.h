// Sees to it that what ranks started dies with the launcher, even if the launcher is SIGKILLed: a small process that
// waits for the launcher's end and then kills the process groups it was told of. The ranks themselves die by
// PR_SET_PDEATHSIG (rank_process.h), which does not reach their children.
#pragma once

#include <sys/types.h>

namespace titan::launch {

class Warden {
 public:
  // Forks. Make it before any pipe of a rank, or it keeps that open. Throws c10::Error if the system refuses.
  Warden();
  // Kills the groups that are still guarded, and waits for the warden's end.
  ~Warden();
  Warden(const Warden&) = delete;
  Warden& operator=(const Warden&) = delete;

  // From here on `group` is SIGKILLed when this process ends, however it does; until release().
  void guard(pid_t group) const;
  void release(pid_t group) const;

 private:
  void tell(pid_t message) const;

  pid_t pid_ = -1;
  int write_end_ = -1;
};

}  // namespace titan::launch
