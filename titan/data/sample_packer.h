// Cuts the endless token stream into samples and keeps those of one rank: [Note: sample order] in text_dataset.h.
// Knows tokens and positions only.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "titan/data/data_loader.h"

namespace titan::data {

// One sample.
struct Row {
  int64_t sample = -1;          // its place in the global order; -1: padding
  std::vector<int32_t> tokens;  // seq_len + 1 of them; none if padding
};

class SamplePacker {
 public:
  SamplePacker(int64_t seq_len, SampleSlice slice);

  // The stream goes on with `tokens`; appends to `rows` what samples of this rank they complete.
  void add(std::span<const int32_t> tokens, std::vector<Row>& rows);

  // How many tokens lie between here and slice.first_sample: tokens that are not looked at.
  int64_t num_tokens_to_skip() const;

  // As add() with that many tokens, of which none is looked at: num_tokens <= num_tokens_to_skip().
  void skip(int64_t num_tokens);

  // The whole samples, of all ranks, in the stream so far.
  int64_t num_samples() const { return position_ / row_size_; }

  // How many samples this rank lacks at the end of a stream that ends here, so that the step it ends in, if it has a
  // sample at all, is complete for the rank.
  int64_t num_missing_rows() const;

 private:
  bool is_mine(int64_t sample) const;

  SampleSlice slice_;
  int64_t row_size_;
  int64_t position_ = 0;  // tokens so far
  Row row_;               // the part so far of the sample that position_ is in, if it is this rank's
};

}  // namespace titan::data
