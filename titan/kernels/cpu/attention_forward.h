// FlashAttention-2 (Dao 2023, arXiv 2307.08691), algorithm 1, with scores transposed (attention.h says why). Included
// by attention.cpp only, for each kind of tiles.
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

// A task is a few tiles of queries that read the same keys and values, so that each tile of these is packed once for
// all of them: kTilesOfChunk, or one for each head of the group where that is more.
constexpr int64_t kTilesOfChunk = 4;

class ForwardTasks {
 public:
  explicit ForwardTasks(const AttentionProblem& problem)
      : group_(problem.heads / problem.kv_heads),
        tiles_(std::max<int64_t>(kTilesOfChunk / group_, 1)),
        chunks_((problem.query_len + tiles_ * kTile - 1) / (tiles_ * kTile)),
        kv_heads_(problem.kv_heads) {}

  int64_t size(const AttentionProblem& problem) const { return problem.batch * kv_heads_ * chunks_; }
  int64_t num_tiles() const { return tiles_ * group_; }  // of a task, at most

  int64_t group() const { return group_; }
  int64_t batch(int64_t task) const { return task / chunks_ / kv_heads_; }
  int64_t kv_head(int64_t task) const { return task / chunks_ % kv_heads_; }
  int64_t first_query(int64_t task) const { return task % chunks_ * tiles_ * kTile; }
  int64_t end_query(int64_t task) const { return first_query(task) + tiles_ * kTile; }

 private:
  int64_t group_, tiles_, chunks_, kv_heads_;
};

// Queries of one head, and what is known of them after some of the keys.
template <class Tiles>
struct QueryTile {
  int64_t head, query, num_queries, lanes;
  VisibleKeys<kTile> visible;
  typename Tiles::Right queries;  // [width, lanes]
  bool started;                   // whether there was a key
  float* sums;                    // [value_width, kTile]: values weighted by 2^(score - largest)
  float* largest;                 // [kTile]: of the scores so far, in units of ln 2
  float* total;                   // [kTile]: of the weights so far
};

template <class Tiles>
struct ForwardMemory {
  ForwardMemory(const AttentionProblem& problem, Arena& arena) {
    const int64_t num_tiles = ForwardTasks(problem).num_tiles();
    const int64_t width = round_up(problem.width, Tiles::kWidthGrain);
    const int64_t value_width = round_up(problem.value_width, Tiles::kWidthGrain);
    tiles = arena.take<QueryTile<Tiles>>(num_tiles);
    queries = arena.take<typename Tiles::Element>(num_tiles * kTile * width);
    sums = arena.take<float>(num_tiles * kTile * value_width);
    statistics = arena.take<float>(num_tiles * kTile * 2);
    keys = arena.take<typename Tiles::Element>(kTile * width);
    values = arena.take<typename Tiles::Element>(kTile * value_width);
    scores = arena.take<float>(kTile * kTile);
    weights = Tiles::kOneLayout ? reinterpret_cast<typename Tiles::Element*>(scores)
                                : arena.take<typename Tiles::Element>(kTile * kTile);
    rows = arena.take<float>(kTile * std::max(width, value_width));
  }

  QueryTile<Tiles>* tiles;
  typename Tiles::Element *queries, *keys, *values;
  float *sums, *statistics;
  float* scores;                     // [keys, queries], transposed
  typename Tiles::Element* weights;  // of the same
  float* rows;                       // scratch for packing and for results
};

// scores: [keys, lanes] -> weights 2^(scale * score - largest), and what follows from a new largest score.
template <class Tiles>
void soften(const QueryTile<Tiles>& tile, float scale, int64_t num_keys, const float* scores,
            typename Tiles::Element* weights, int64_t value_width) {
  using Vector = at::vec::Vectorized<float>;
  constexpr int64_t kLanes = Tiles::kLanes, kVectors = Tiles::kVectors;
  constexpr float kNever = -std::numeric_limits<float>::infinity();
  for (int64_t lane = 0; lane < tile.lanes; lane += kGrain) {
    // 1. The largest score of each query, in units of ln 2.
    Vector largest[kVectors], total[kVectors], base[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) largest[v] = Vector(kNever);
    for (int64_t key = 0; key < num_keys; ++key) {
      for (int64_t v = 0; v < kVectors; ++v) {
        largest[v] = at::vec::clamp_min(Vector::loadu(scores + key * kTile + lane + v * kLanes), largest[v]);
      }
    }
    // 2. What was summed with another base is rescaled.
    for (int64_t v = 0; v < kVectors; ++v) {
      const int64_t i = lane + v * kLanes;
      const Vector old = Vector::loadu(tile.largest + i);
      largest[v] = at::vec::clamp_min(largest[v] * Vector(scale), old);
      // Where no key was seen yet, all weights are 2^(-infinity - 0).
      base[v] = Vector::blendv(largest[v], Vector(0.0F), largest[v] == Vector(kNever));
      const Vector factor = exp2_bounded(old - base[v]);
      total[v] = Vector::loadu(tile.total + i) * factor;
      largest[v].store(tile.largest + i);
      if (tile.started) {
        for (int64_t row = 0; row < value_width; ++row) {
          float* const at = tile.sums + row * kTile + i;
          (Vector::loadu(at) * factor).store(at);
        }
      }
    }
    // 3. Weights.
    for (int64_t key = 0; key < num_keys; key += 2) {
      Vector pair[2][kVectors];
      for (int64_t row = 0; row < 2; ++row) {
        for (int64_t v = 0; v < kVectors; ++v) {
          const Vector score = Vector::loadu(scores + (key + row) * kTile + lane + v * kLanes);
          pair[row][v] = exp2_bounded(at::vec::fmsub(score, Vector(scale), base[v]));
          total[v] = total[v] + pair[row][v];
        }
      }
      Tiles::template put_right<kTile>(weights, key, lane, pair);
    }
    for (int64_t v = 0; v < kVectors; ++v) total[v].store(tile.total + lane + v * kLanes);
  }
}

template <class Tiles, class T>
void write_outputs(const AttentionProblem& problem, const AttentionOutputs& outputs, int64_t batch,
                   const QueryTile<Tiles>& tile, float* rows) {
  for (int64_t i = 0; i < tile.num_queries; ++i) {
    // A query that sees no key: sum 0, log-sum-exp -infinity.
    const float total = tile.total[i];
    const int64_t row = (batch * problem.heads + tile.head) * problem.query_len + tile.query + i;
    outputs.logsumexp[row] = total == 0.0F ? -std::numeric_limits<float>::infinity()
                                           : tile.largest[i] * std::numbers::ln2_v<float> + std::log(total);
    tile.total[i] = total == 0.0F ? 0.0F : 1.0F / total;
  }
  store_transposed(tile.sums, problem.value_width, tile.num_queries,
                   rows_at<T>(outputs.out, batch, tile.query, tile.head), outputs.out.seq_stride, rows,
                   [&](int64_t i) { return tile.total[i]; });
}

template <class Tiles, class T>
void forward_task(const AttentionProblem& problem, const AttentionOutputs& outputs, int64_t task, std::byte* memory) {
  const ForwardTasks tasks(problem);
  const int64_t batch = tasks.batch(task), kv_head = tasks.kv_head(task);
  Arena arena(memory);
  const ForwardMemory<Tiles> m(problem, arena);
  const int64_t width = round_up(problem.width, Tiles::kWidthGrain);
  const int64_t value_width = round_up(problem.value_width, Tiles::kWidthGrain);
  const float scale = problem.scale * std::numbers::log2e_v<float>;
  [[maybe_unused]] const typename Tiles::Session session;

  // 1. The queries, which stay.
  int64_t num_tiles = 0, begin = problem.key_len, end = 0;
  for (int64_t query = tasks.first_query(task); query < std::min(tasks.end_query(task), problem.query_len);
       query += kTile) {
    const int64_t num_queries = std::min(kTile, problem.query_len - query);
    const VisibleKeys<kTile> visible(problem, batch, query, num_queries);
    begin = std::min(begin, visible.begin_of_any);
    end = std::max(end, visible.end_of_any);
    for (int64_t head = kv_head * tasks.group(); head < (kv_head + 1) * tasks.group(); ++head) {
      QueryTile<Tiles>& tile = m.tiles[num_tiles];
      tile.head = head;
      tile.query = query;
      tile.num_queries = num_queries;
      tile.lanes = round_up(num_queries, kGrain);
      tile.visible = visible;
      tile.queries = Tiles::template pack_right_transposed<kTile>(
          rows_at<T>(problem.query, batch, query, head), problem.query.seq_stride, num_queries, problem.width,
          m.queries + num_tiles * kTile * width, reinterpret_cast<typename Tiles::Element*>(m.rows));
      tile.started = false;
      tile.sums = m.sums + num_tiles * kTile * value_width;
      tile.largest = m.statistics + num_tiles * kTile * 2;
      tile.total = tile.largest + kTile;
      std::fill(tile.largest, tile.total, -std::numeric_limits<float>::infinity());
      std::fill(tile.total, tile.total + kTile, 0.0F);
      std::fill(tile.sums, tile.sums + kTile * value_width, 0.0F);
      ++num_tiles;
    }
  }

  // 2. The keys and values, which pass by.
  for (int64_t key = begin / kTile * kTile; key < end; key += kTile) {
    const int64_t num_keys = std::min(kTile, problem.key_len - key);
    const auto keys = Tiles::pack_left(rows_at<T>(problem.key, batch, key, kv_head), problem.key.seq_stride, num_keys,
                                       problem.width, m.keys);
    const auto values = Tiles::template pack_left_transposed<kTile>(
        rows_at<T>(problem.value, batch, key, kv_head), problem.value.seq_stride, num_keys, problem.value_width,
        m.values, reinterpret_cast<typename Tiles::Element*>(m.rows));
    for (int64_t i = 0; i < num_tiles; ++i) {
      QueryTile<Tiles>& tile = m.tiles[i];
      if (!tile.visible.any(key, key + num_keys)) continue;
      const int64_t seen = round_up(std::min(num_keys, tile.visible.end_of_any - key), kGrain);
      Tiles::template multiply<false>(m.scores, kTile, keys, tile.queries, seen, tile.lanes,
                                      Tiles::terms(problem.width));
      tile.visible.mask(m.scores, key, seen, tile.lanes);
      soften(tile, scale, seen, m.scores, m.weights, value_width);
      Tiles::template multiply<true>(tile.sums, kTile, values, Tiles::template right_of<kTile>(m.weights),
                                     round_up(problem.value_width, 16), tile.lanes, seen);
      tile.started = true;
    }
  }

  // 3. Divided by the sum of the weights.
  for (int64_t i = 0; i < num_tiles; ++i) write_outputs<Tiles, T>(problem, outputs, batch, m.tiles[i], m.rows);
}

}  // namespace CPU_CAPABILITY
}  // namespace titan::kernels::cpu
