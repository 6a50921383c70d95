#include "titan/dtensor/cost.h"

namespace titan::dtensor {
namespace {

constexpr double kLatency = 10e-6;         // seconds from call to first byte
constexpr double kBandwidth = 100e9;       // bytes per second between ranks
constexpr double kMemoryBandwidth = 2e12;  // bytes per second
constexpr double kLaunch = 1e-7;           // what a local step costs at least: so that none is better than one

// Ring algorithms: each rank sends (n - 1) / n of the bytes, an all_reduce twice that.
double ring(double bytes, int64_t num_ranks) {
  if (num_ranks == 1) return 0;
  const auto n = static_cast<double>(num_ranks);
  return kLatency + bytes * (n - 1) / n / kBandwidth;
}

}  // namespace

double all_gather_cost(double bytes, int64_t num_ranks) { return ring(bytes, num_ranks); }
double reduce_scatter_cost(double bytes, int64_t num_ranks) { return ring(bytes, num_ranks); }
double all_reduce_cost(double bytes, int64_t num_ranks) { return 2 * ring(bytes, num_ranks); }
double all_to_all_cost(double bytes, int64_t num_ranks) { return ring(bytes, num_ranks); }
double copy_cost(double bytes) { return kLaunch + bytes / kMemoryBandwidth; }

}  // namespace titan::dtensor
