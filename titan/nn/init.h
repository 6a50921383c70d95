// Initial values of parameters. Each element depends on (seed, fqn, its index in the whole tensor) only, not on the
// layout nor on the order of initialisation: a rank that holds a shard draws just that shard and gets the same numbers
// (Philox, see philox.h; the FQN's hash is the key's second half of the stream).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "titan/nn/module.h"

namespace titan::nn {

class Initializer {
 public:
  explicit Initializer(uint64_t seed) : seed_(seed) {}

  // N(mean, std^2).
  void normal(Parameter& parameter, double mean = 0.0, double std = 1.0) const;

  // N(mean, std^2) restricted to [low, high], by inversion of the distribution function (absolute bounds, not in
  // units of std).
  void trunc_normal(Parameter& parameter, double mean, double std, double low = -2.0, double high = 2.0) const;

  // Draws what a parameter named `fqn` would get: for one that is tied to it.
  Initializer as(std::string_view fqn) const;

  void ones(Parameter& parameter) const;
  void zeros(Parameter& parameter) const;

 private:
  std::string stream_of(const Parameter& parameter) const;

  uint64_t seed_;
  std::optional<std::string> fqn_;  // in the place of the parameters' own
};

}  // namespace titan::nn
