// A backend that counts: shows what a redistribution, an operator or a module sends.
#pragma once

#include <cstdint>
#include <functional>
#include <ostream>

#include "titan/distributed/backend.h"

namespace titan::test {

struct Counts {
  int64_t all_gather = 0, reduce_scatter = 0, all_reduce = 0, all_to_all = 0, broadcast = 0, sent_messages = 0;
  int64_t bytes = 0;  // of what this rank put in

  int64_t collectives() const { return all_gather + reduce_scatter + all_reduce + all_to_all + broadcast; }
  bool operator==(const Counts&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Counts& counts);

// What this thread's rank starts while `body` runs, on backends that `counted` made.
Counts counts_of(const std::function<void()>& body);

distributed::BackendFactory counted(distributed::BackendFactory make);

}  // namespace titan::test
