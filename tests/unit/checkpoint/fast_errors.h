// Fuzzing throws errors by the thousand; their stack traces would take most of the time.
#pragma once

#include <c10/util/Logging.h>

#include <string>

namespace titan::checkpoint {

// Errors of this process have no stack trace from here on.
inline void drop_stack_traces() {
  c10::SetStackTraceFetcher([] { return std::string(); });
}

}  // namespace titan::checkpoint
