#include "titan/parallel/context/sequence_layout.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/zeros_like.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <vector>

namespace titan::parallel {

at::Tensor SequenceLayout::tokens_of(int64_t rank, int64_t seq_len) const {
  TORCH_CHECK_VALUE(seq_len % num_pieces() == 0, "context parallel: expected a sequence length that is a multiple of ",
                    num_pieces(), " for ", num_ranks_, " ranks, got ", seq_len);
  const int64_t piece_len = seq_len / num_pieces();
  std::vector<at::Tensor> pieces;
  for (int64_t i = 0; i < pieces_per_rank(); ++i) {
    const int64_t begin = piece_of(rank, i) * piece_len;
    pieces.push_back(at::arange(begin, begin + piece_len, at::kLong));
  }
  return at::cat(pieces);
}

std::optional<Meeting> SequenceLayout::meeting(int64_t query_rank, int64_t key_rank, int64_t local_len) const {
  const Rows all{0, local_len}, head{0, local_len / 2}, tail{local_len / 2, local_len / 2};
  if (key_rank == query_rank) return Meeting{.queries = all, .keys = all, .is_causal = true};
  const bool is_earlier = key_rank < query_rank;
  if (order_ == SequenceOrder::kInOrder) {
    return is_earlier ? std::optional(Meeting{.queries = all, .keys = all}) : std::nullopt;
  }
  // An earlier rank's head is before both of ours, its tail after both; a later rank's head and tail are between ours.
  return is_earlier ? Meeting{.queries = all, .keys = head} : Meeting{.queries = tail, .keys = all};
}

at::Tensor SequenceLayout::num_keys_before(const at::Tensor& tokens, int64_t key_rank, Rows keys,
                                           int64_t local_len) const {
  const int64_t piece_len = local_len / pieces_per_rank();
  at::Tensor count = at::zeros_like(tokens);
  for (int64_t i = 0; i < pieces_per_rank(); ++i) {
    // Those rows of the piece that are among `keys`.
    const int64_t begin = std::max(keys.begin, i * piece_len),
                  end = std::min(keys.begin + keys.size, (i + 1) * piece_len);
    if (begin >= end) continue;
    const int64_t first_token = piece_of(key_rank, i) * piece_len + begin - i * piece_len;
    count += (tokens - first_token).clamp(0, end - begin);
  }
  return count;
}

}  // namespace titan::parallel
