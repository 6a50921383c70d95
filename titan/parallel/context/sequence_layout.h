// How a sequence is dealt to the ranks that share it, and what follows for causal attention: which of one rank's
// queries meet which of another's keys. Arithmetic only; nothing is sent.
//
// Dealt in order, the last rank's queries see all keys and the first rank's next to none. Head-tail deals 2n pieces to
// n ranks, rank r getting r and 2n - 1 - r, so that what it gains at one end it loses at the other: all ranks have the
// same work (Brandon et al. 2023, arXiv 2311.09431, has another such order; this is TorchTitan's).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace titan::parallel {

enum class SequenceOrder { kHeadTail, kInOrder };

// Rows of a rank's part of the sequence.
struct Rows {
  int64_t begin = 0;
  int64_t size = 0;
};

// The part of the matrix of scores that one rank's queries and another's keys have: each of these queries sees each of
// these keys, or, where a rank meets itself, those up to its own row.
struct Meeting {
  Rows queries, keys;
  bool is_causal = false;
};

class SequenceLayout {
 public:
  SequenceLayout(int64_t num_ranks, SequenceOrder order) : num_ranks_(num_ranks), order_(order) {}

  int64_t num_ranks() const { return num_ranks_; }
  // Equal pieces that a sequence is cut into: its length must be a multiple.
  int64_t num_pieces() const { return order_ == SequenceOrder::kHeadTail ? 2 * num_ranks_ : num_ranks_; }

  // The tokens that a rank has of a sequence, ascending: int64 [seq_len / ranks]. Throws c10::ValueError if the length
  // is no multiple of num_pieces().
  at::Tensor tokens_of(int64_t rank, int64_t seq_len) const;

  // local_len: rows that each rank has. Nothing: no query sees any key.
  std::optional<Meeting> meeting(int64_t query_rank, int64_t key_rank, int64_t local_len) const;

  // How many of `keys` of a rank stand before each of `tokens` (int64, any shape): by this, what is said of tokens of
  // the whole sequence (where a document begins) can be said of the keys of one meeting.
  at::Tensor num_keys_before(const at::Tensor& tokens, int64_t key_rank, Rows keys, int64_t local_len) const;

 private:
  // The piece of the sequence that is the index-th of a rank's.
  int64_t piece_of(int64_t rank, int64_t index) const { return index == 0 ? rank : 2 * num_ranks_ - 1 - rank; }
  int64_t pieces_per_rank() const { return num_pieces() / num_ranks_; }

  int64_t num_ranks_;
  SequenceOrder order_;
};

}  // namespace titan::parallel
