// What `titan trace` says, in words and as JSON.
#pragma once

#include <string>

#include "titan/trace/ranks_together.h"

namespace titan::trace {

// The verdict first, then what each rank's dump shows, then who comes late.
std::string to_text(const RanksTogether& ranks);

// The same: {"verdicts": [{kind, ranks, operation, sequence, group, module, waiting, text}], "ranks": [...],
// "arrivals": {...}}, of one line.
std::string to_json(const RanksTogether& ranks);

}  // namespace titan::trace
