// The layouts that `titan verify` compares, and the little language that names them:
//   "dp_replicate=2; dp_replicate=4, accum=2; tp=2, pp=2, schedule=1F1B, microbatches=4, dtype=bf16"
// Layouts are split by ';', their items by ','; spaces are ignored. Degrees and accum that are not named are 1.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "titan/config/problems.h"

namespace titan::verify {

struct Layout {
  std::string text;  // as typed, without superfluous spaces; names the layout in reports
  int64_t dp_replicate = 1;
  int64_t dp_shard = 1;
  int64_t tp = 1;
  int64_t pp = 1;
  int64_t cp = 1;
  int64_t accum = 1;                    // micro-batches a rank accumulates gradients over
  std::optional<int64_t> microbatches;  // of a pipeline
  std::optional<std::string> schedule;  // of a pipeline, by PyTorch's names
  std::optional<std::string> ac;        // a mode, or of mode selective: op, or N, every N-th block
  std::optional<std::string> dtype;     // fp32 or bf16; else what the configuration says
  std::optional<bool> sp, loss_parallel, async_tp;
  std::optional<std::string> rotate;  // of context parallelism: allgather or alltoall
  std::optional<bool> balance;        // of context parallelism: head-tail, or in order

  int64_t world_size() const { return dp_replicate * dp_shard * tp * pp * cp; }
  // Ranks that read different samples.
  int64_t batch_degree() const { return dp_replicate * dp_shard; }
  // Whether sums of products are cut differently, so that results differ by more than the order of a sum.
  bool splits_operators() const { return tp > 1 || cp > 1; }
};

// Adds a line to `problems` for every item that is no item.
std::vector<Layout> parse_layouts(std::string_view text, config::Problems& problems);

// The flags of `titan train` that turn a configuration into `layout` on the same global batches: global_batch_size
// stays, local_batch_size follows, whatever the configuration says. Adds a line to `problems` where the batch cannot be
// divided so.
std::vector<std::string> flags_of(const Layout& layout, int64_t global_batch_size, config::Problems& problems);

}  // namespace titan::verify
