// What communication costs, roughly: latency plus bytes over bandwidth. Only the order matters, and that every rank
// gets the same; so sizes are those of even shards.
#pragma once

#include <cstdint>

namespace titan::dtensor {

// Seconds. `bytes` is what a rank has after an all_gather, before a reduce_scatter, on either side of an all_reduce or
// all_to_all. A group of one costs nothing.
double all_gather_cost(double bytes, int64_t num_ranks);
double reduce_scatter_cost(double bytes, int64_t num_ranks);
double all_reduce_cost(double bytes, int64_t num_ranks);
double all_to_all_cost(double bytes, int64_t num_ranks);
// Of reading and writing `bytes` on the rank itself.
double copy_cost(double bytes);

}  // namespace titan::dtensor
