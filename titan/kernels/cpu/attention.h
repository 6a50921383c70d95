// The loops of titan::attention_forward and titan::attention_backward (titan/kernels/attention.h has the contract).
//
// Both are FlashAttention-2 (Dao 2023, arXiv 2307.08691), algorithms 1 and 2, with scores transposed: a tile of scores
// is [keys, queries], so that the 16 lanes of a vector are 16 queries. What the softmax keeps for each query (largest
// score, sum) is then a vector as well, nothing is summed across lanes, and a head_dim of 16 fills the vector unit as
// well as 128 does: it is never the dimension along which one multiplies side by side.
#pragma once

#include <c10/core/ScalarType.h>

#include <cstddef>
#include <cstdint>

namespace titan::kernels::cpu {

// A tensor [batch, seq, heads, width] with consecutive elements along width. Strides in elements.
template <class Data>
struct HeadRows {
  Data* data;
  int64_t batch_stride, seq_stride, head_stride;
};

// query: [batch, query_len, heads, width]; key: [batch, key_len, kv_heads, width];
// value: [batch, key_len, kv_heads, value_width].
struct AttentionProblem {
  at::ScalarType dtype;  // float32, bfloat16 or float16
  int64_t batch, heads, kv_heads, query_len, key_len, width, value_width;
  HeadRows<const void> query, key, value;
  float scale;  // above 0
  bool is_causal;
  int64_t query_offset;      // query i stands at position query_offset + i of the keys
  int64_t window;            // keys up to a query's position that it sees; 0: all
  const int64_t* first_key;  // [batch, query_len], where set: the first key that each query sees
};

struct AttentionOutputs {
  HeadRows<void> out;  // [batch, query_len, heads, value_width]
  float* logsumexp;    // [batch, heads, query_len]
};

struct AttentionGradients {
  HeadRows<const void> grad_out, out;  // [batch, query_len, heads, value_width]
  const float* logsumexp;              // [batch, heads, query_len]
  HeadRows<void> query, key, value;    // results, sized as the operands
};

// Each task writes its own part of the results, in an order of summation that no other task changes. `memory` is for
// one task at a time, 64-byte aligned.
struct AttentionLoops {
  int64_t (*num_forward_tasks)(const AttentionProblem& problem);
  int64_t (*forward_memory)(const AttentionProblem& problem);  // bytes
  void (*forward)(const AttentionProblem& problem, const AttentionOutputs& outputs, int64_t task, std::byte* memory);

  int64_t (*num_backward_tasks)(const AttentionProblem& problem);
  int64_t (*backward_memory)(const AttentionProblem& problem);
  void (*backward)(const AttentionProblem& problem, const AttentionGradients& gradients, int64_t task,
                   std::byte* memory);
};

// For bfloat16 on CPUs with AVX-512 and AMX: not among loops<AttentionLoops>(). Built for x86-64 only.
AttentionLoops amx_attention_loops();

}  // namespace titan::kernels::cpu
