// Which keys a tile of queries sees. Only for the sources of loops (loops.h).
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cstdint>
#include <limits>

#include "titan/kernels/cpu/attention.h"
#include "titan/kernels/cpu/compiled_for.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// Query i of the tile sees the keys [first[i], end[i]). What is beyond the tile's queries sees what the last one does.
template <int64_t kTile>
struct VisibleKeys {
  VisibleKeys() = default;
  VisibleKeys(const AttentionProblem& problem, int64_t batch, int64_t query, int64_t num_queries) {
    for (int64_t i = 0; i < kTile; ++i) {
      const int64_t index = query + std::min(i, num_queries - 1), position = index + problem.query_offset;
      first[i] = problem.window > 0 ? std::max<int64_t>(position - problem.window + 1, 0) : 0;
      if (problem.first_key != nullptr) {
        first[i] = std::max(first[i], problem.first_key[batch * problem.query_len + index]);
      }
      end[i] = problem.is_causal ? std::clamp<int64_t>(position + 1, 0, problem.key_len) : problem.key_len;
      latest_first = std::max(latest_first, first[i]);
      earliest_end = std::min(earliest_end, end[i]);
      if (first[i] < end[i]) {
        begin_of_any = std::min(begin_of_any, first[i]);
        end_of_any = std::max(end_of_any, end[i]);
      }
    }
  }

  // Whether any query sees any of the keys [key, key_end).
  bool any(int64_t key, int64_t key_end) const { return begin_of_any < key_end && key < end_of_any; }

  // Sets the scores of what is not seen to -infinity. scores: [num_keys, kTile], of the keys from `key` on.
  void mask(float* scores, int64_t key, int64_t num_keys, int64_t num_queries) const {
    using Vector = at::vec::Vectorized<float>;
    if (latest_first <= key && key + num_keys <= earliest_end) return;
    float first_row[kTile], end_row[kTile];
    for (int64_t i = 0; i < num_queries; ++i) {
      first_row[i] = static_cast<float>(std::clamp<int64_t>(first[i] - key, 0, num_keys));
      end_row[i] = static_cast<float>(std::clamp<int64_t>(end[i] - key, 0, num_keys));
    }
    const Vector unseen(-std::numeric_limits<float>::infinity());
    for (int64_t row = 0; row < num_keys; ++row) {
      const Vector number(static_cast<float>(row));
      for (int64_t i = 0; i < num_queries; i += Vector::size()) {
        float* const at = scores + row * kTile + i;
        const Vector seen = (number >= Vector::loadu(first_row + i)) & (number < Vector::loadu(end_row + i));
        Vector::blendv(unseen, Vector::loadu(at), seen).store(at);
      }
    }
  }

  int64_t first[kTile], end[kTile];
  // Over all queries; and the range of what those see that see anything.
  int64_t latest_first = 0, earliest_end = std::numeric_limits<int64_t>::max();
  int64_t begin_of_any = std::numeric_limits<int64_t>::max(), end_of_any = 0;
};

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
