// What went wrong between ranks, judged from their dumps. In this order, since each may bring the later ones about:
//   a rank failed by itself; ranks met in different operations; a rank is gone, or never came where others wait for
//   it; ranks wait for each other; an operation that all have begun does not end.
// Nothing is known of what ranks do outside of communication: "never reached" may be a hang, an endless loop, or a
// debugger.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "titan/trace/ranks_together.h"

namespace titan::trace {

enum class Kind {
  kNothing,     // nobody waits, or not for long
  kFailed,      // the ranks failed by themselves: the reason is in their own output
  kShape,       // they came to the operation with another shape or dtype
  kLeftOut,     // they did not call it, but what comes after it
  kOrder,       // they called it after what comes after it
  kOther,       // they called something else
  kDied,        // they left no dump
  kNeverCame,   // they have not begun it
  kEachOther,   // ranks wait for each other
  kUnfinished,  // all have begun it, and it is not over
};
// "shape", "left out", ...
const char* name_of(Kind kind);

// Where it happened: the operation of `sequence` in a channel, as most ranks know it.
struct Place {
  std::string operation;  // "all_gather_into"
  int64_t sequence = -1;  // -1: it is not known
  std::string channel;    // its key
  std::string group;      // "dp_shard"
  std::string module;     // "" if it has none, as messages, whose ends serve one each
};

struct Verdict {
  Kind kind = Kind::kNothing;
  std::vector<int64_t> ranks;  // to blame, ascending; where there is no telling, all that may be
  Place place;
  std::vector<int64_t> waiting;  // ranks that wait there
  std::string text;              // in words, one line
};

// The first is the cause, as far as one can tell; others may be its consequences. One at least.
std::vector<Verdict> judge(const RanksTogether& ranks);

// "all_gather_into 812 on dp_shard (layers.7)".
std::string to_text(const Place& place);
Place place_of(const Operation& operation, const Channel& channel);

}  // namespace titan::trace
