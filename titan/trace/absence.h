// Who did not come where others wait. Ranks that wait form a graph, each pointing at those that have not begun what it
// waits in; where the arrows end is who everybody waits for.
#pragma once

#include <optional>

#include "titan/trace/verdict.h"

namespace titan::trace {

// The rank that most others wait for; that ranks wait for each other; that an operation does not end. Nothing if nobody
// waits.
std::optional<Verdict> find_absence(const RanksTogether& ranks);

}  // namespace titan::trace
