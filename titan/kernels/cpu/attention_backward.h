// FlashAttention-2 (Dao 2023, arXiv 2307.08691), algorithm 2, with scores transposed (attention.h says why). Included
// by attention.cpp only, for each kind of tiles. With P = exp(scale Q K^T - logsumexp) and D = sum(dO * O) by query:
//   dV = P^T dO;   dS = P * (dO V^T - D);   dQ = scale dS K;   dK = scale dS^T Q
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>

#include "titan/kernels/cpu/arena.h"
#include "titan/kernels/cpu/attention.h"
#include "titan/kernels/cpu/attention_tiles.h"
#include "titan/kernels/cpu/exp2.h"
#include "titan/kernels/cpu/visible_keys.h"

namespace titan::kernels::cpu {
inline namespace CPU_CAPABILITY {

// Tiles of keys that a tile of queries is packed for at a time: as many as stay in a second-level cache beside it.
constexpr int64_t kMaxTilesOfSpan = 16;
constexpr int64_t tiles_of_span(int64_t width) { return std::clamp<int64_t>(256 / width, 4, kMaxTilesOfSpan); }

template <class Tiles>
struct BackwardMemory {
  using Element = typename Tiles::Element;

  BackwardMemory(const AttentionProblem& problem, Arena& arena)
      : width(round_up(problem.width, Tiles::kWidthGrain)),
        value_width(round_up(problem.value_width, Tiles::kWidthGrain)),
        num_tiles((problem.query_len + kTile - 1) / kTile),
        span(kTile * tiles_of_span(std::max(width, value_width))),
        group(problem.heads / problem.kv_heads) {
    grad_queries = arena.take<float>(group * num_tiles * kTile * width);
    logsumexp = arena.take<float>(group * num_tiles * kTile);
    dots = arena.take<float>(group * num_tiles * kTile);
    keys = arena.take<Element>(span * width);
    keys_transposed = arena.take<Element>(span * width);
    values = arena.take<Element>(span * value_width);
    grad_keys = arena.take<float>(span * width);
    grad_values = arena.take<float>(span * value_width);
    queries = arena.take<Element>(kTile * width);
    queries_transposed = arena.take<Element>(kTile * width);
    grad_out = arena.take<Element>(kTile * value_width);
    grad_out_transposed = arena.take<Element>(kTile * value_width);
    scores = arena.take<float>(kTile * kTile);
    grad_weights = arena.take<float>(kTile * kTile);
    const auto operand = [&](float* in_place) {
      return Tiles::kOneLayout ? reinterpret_cast<Element*>(in_place) : arena.take<Element>(kTile * kTile);
    };
    weights = operand(scores);
    grad_scores = operand(grad_weights);
    grad_scores_right = operand(grad_weights);
    rows = arena.take<float>(kTile * std::max(width, value_width));
  }

  float* grad_query_tile(int64_t head, int64_t tile) const {
    return grad_queries + (head * num_tiles + tile) * kTile * width;
  }

  int64_t width, value_width, num_tiles, span, group;
  float* grad_queries;             // [group, num_tiles, width, kTile]
  float *logsumexp, *dots;         // [group, num_tiles, kTile]: in units of ln 2; D
  Element *keys, *values;          // of a span of keys
  Element* keys_transposed;        // a tile after the other
  float *grad_keys, *grad_values;  // of the span
  Element *queries, *grad_out;     // of a tile
  Element *queries_transposed, *grad_out_transposed;
  float *scores, *grad_weights;    // [keys, queries]
  Element *weights, *grad_scores;  // of the same, as left operands
  Element* grad_scores_right;      // and as a right one
  float* rows;                     // scratch for packing and for results
};

// What the scores of each query are compared with, and D.
template <class T, class Memory>
void prepare_queries(const AttentionProblem& problem, const AttentionGradients& gradients, int64_t batch,
                     int64_t kv_head, const Memory& m) {
  for (int64_t g = 0; g < m.group; ++g) {
    const int64_t head = kv_head * m.group + g;
    const float* const logsumexp = gradients.logsumexp + (batch * problem.heads + head) * problem.query_len;
    for (int64_t i = 0; i < m.num_tiles * kTile; ++i) {
      const bool is_there = i < problem.query_len && logsumexp[i] != -std::numeric_limits<float>::infinity();
      const int64_t at = g * m.num_tiles * kTile + i;
      // Weights are 0 where there is no query, and where it sees no key.
      m.logsumexp[at] = is_there ? logsumexp[i] * std::numbers::log2e_v<float> : std::numeric_limits<float>::infinity();
      m.dots[at] = is_there ? dot(rows_at<T>(gradients.grad_out, batch, i, head),
                                  rows_at<T>(gradients.out, batch, i, head), problem.value_width)
                            : 0.0F;
    }
  }
  std::fill(m.grad_queries, m.grad_queries + m.group * m.num_tiles * kTile * m.width, 0.0F);
}

// scores and grad_weights (dO V^T), [keys, lanes] -> P and dS as operands.
template <class Tiles>
void differentiate(const BackwardMemory<Tiles>& m, const float* logsumexp, const float* dots, float scale,
                   int64_t num_keys, int64_t lanes) {
  using Vector = at::vec::Vectorized<float>;
  constexpr int64_t kLanes = Tiles::kLanes, kVectors = Tiles::kVectors;
  for (int64_t lane = 0; lane < lanes; lane += kGrain) {
    Vector base[kVectors], dot_of[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) {
      base[v] = Vector::loadu(logsumexp + lane + v * kLanes);
      dot_of[v] = Vector::loadu(dots + lane + v * kLanes);
    }
    for (int64_t key = 0; key < num_keys; key += 2) {
      Vector weights[2][kVectors], grads[2][kVectors];
      for (int64_t row = 0; row < 2; ++row) {
        for (int64_t v = 0; v < kVectors; ++v) {
          const int64_t i = (key + row) * kTile + lane + v * kLanes;
          weights[row][v] = exp2_bounded(at::vec::fmsub(Vector::loadu(m.scores + i), Vector(scale), base[v]));
          grads[row][v] = weights[row][v] * (Vector::loadu(m.grad_weights + i) - dot_of[v]);
        }
      }
      Tiles::template put_left<kTile>(m.weights, key, lane, weights);
      Tiles::template put_left<kTile>(m.grad_scores, key, lane, grads);
      if constexpr (!Tiles::kOneLayout) Tiles::template put_right<kTile>(m.grad_scores_right, key, lane, grads);
    }
  }
}

// The key and value head `task % kv_heads` of batch entry `task / kv_heads`, with all its query heads.
template <class Tiles, class T>
void backward_task(const AttentionProblem& problem, const AttentionGradients& gradients, int64_t task,
                   std::byte* memory) {
  const int64_t batch = task / problem.kv_heads, kv_head = task % problem.kv_heads;
  Arena arena(memory);
  const BackwardMemory<Tiles> m(problem, arena);
  auto* const scratch = reinterpret_cast<typename Tiles::Element*>(m.rows);
  const float scale = problem.scale * std::numbers::log2e_v<float>;
  const int64_t columns = round_up(problem.width, 16), value_columns = round_up(problem.value_width, 16);
  [[maybe_unused]] const typename Tiles::Session session;
  prepare_queries<T>(problem, gradients, batch, kv_head, m);

  for (int64_t span = 0; span < problem.key_len; span += m.span) {
    // 1. A span of keys and values.
    const int64_t span_end = std::min(span + m.span, problem.key_len);
    const auto keys = Tiles::pack_left(rows_at<T>(problem.key, batch, span, kv_head), problem.key.seq_stride,
                                       span_end - span, problem.width, m.keys);
    const auto values = Tiles::pack_left(rows_at<T>(problem.value, batch, span, kv_head), problem.value.seq_stride,
                                         span_end - span, problem.value_width, m.values);
    typename Tiles::Left keys_transposed[kMaxTilesOfSpan];
    for (int64_t key = span; key < span_end; key += kTile) {
      keys_transposed[(key - span) / kTile] = Tiles::template pack_left_transposed<kTile>(
          rows_at<T>(problem.key, batch, key, kv_head), problem.key.seq_stride, std::min(kTile, span_end - key),
          problem.width, m.keys_transposed + (key - span) * m.width, scratch);
    }
    std::fill(m.grad_keys, m.grad_keys + m.span * m.width, 0.0F);
    std::fill(m.grad_values, m.grad_values + m.span * m.value_width, 0.0F);

    for (int64_t tile = 0; tile < m.num_tiles; ++tile) {
      const int64_t query = tile * kTile, num_queries = std::min(kTile, problem.query_len - query);
      const int64_t lanes = round_up(num_queries, kGrain);
      const VisibleKeys<kTile> visible(problem, batch, query, num_queries);
      if (!visible.any(span, span_end)) continue;
      for (int64_t g = 0; g < m.group; ++g) {
        // 2. A tile of queries and of the gradient of what they got.
        const T* const query_rows = rows_at<T>(problem.query, batch, query, kv_head * m.group + g);
        const T* const grad_rows = rows_at<T>(gradients.grad_out, batch, query, kv_head * m.group + g);
        const auto queries = Tiles::template pack_both_right<kTile>(
            query_rows, problem.query.seq_stride, num_queries, problem.width, m.queries, m.queries_transposed, scratch);
        const auto grad_out =
            Tiles::template pack_both_right<kTile>(grad_rows, gradients.grad_out.seq_stride, num_queries,
                                                   problem.value_width, m.grad_out, m.grad_out_transposed, scratch);
        const int64_t row = (g * m.num_tiles + tile) * kTile;

        for (int64_t key = span; key < span_end; key += kTile) {
          const int64_t num_keys = std::min(kTile, span_end - key);
          if (!visible.any(key, key + num_keys)) continue;
          const int64_t seen = round_up(std::min(num_keys, visible.end_of_any - key), kGrain);
          // 3. P and dS of one tile against the other.
          Tiles::template multiply<false>(m.scores, kTile, Tiles::rows_from(keys, key - span), queries.transposed, seen,
                                          lanes, Tiles::terms(problem.width));
          visible.mask(m.scores, key, seen, lanes);
          Tiles::template multiply<false>(m.grad_weights, kTile, Tiles::rows_from(values, key - span),
                                          grad_out.transposed, seen, lanes, Tiles::terms(problem.value_width));
          differentiate<Tiles>(m, m.logsumexp + row, m.dots + row, scale, seen, lanes);
          // 4. What they add to each gradient.
          Tiles::template multiply<true>(m.grad_values + (key - span) * m.value_width, m.value_width,
                                         Tiles::template left_of<kTile>(m.weights), grad_out.plain, seen, value_columns,
                                         lanes);
          Tiles::template multiply<true>(m.grad_keys + (key - span) * m.width, m.width,
                                         Tiles::template left_of<kTile>(m.grad_scores), queries.plain, seen, columns,
                                         lanes);
          Tiles::template multiply<true>(m.grad_query_tile(g, tile), kTile, keys_transposed[(key - span) / kTile],
                                         Tiles::template right_of<kTile>(m.grad_scores_right), columns, lanes, seen);
        }
      }
    }
    // 5. The span is done.
    for (int64_t key = span; key < span_end; ++key) {
      store_row(m.grad_keys + (key - span) * m.width, problem.width, problem.scale,
                rows_at<T>(gradients.key, batch, key, kv_head));
      store_row(m.grad_values + (key - span) * m.value_width, problem.value_width, 1.0F,
                rows_at<T>(gradients.value, batch, key, kv_head));
    }
  }

  for (int64_t g = 0; g < m.group; ++g) {
    for (int64_t tile = 0; tile < m.num_tiles; ++tile) {
      store_transposed(m.grad_query_tile(g, tile), problem.width, std::min(kTile, problem.query_len - tile * kTile),
                       rows_at<T>(gradients.query, batch, tile * kTile, kv_head * m.group + g),
                       gradients.query.seq_stride, m.rows, [&](int64_t) { return problem.scale; });
    }
  }
}

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
