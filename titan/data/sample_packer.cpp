#include "titan/data/sample_packer.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <utility>

namespace titan::data {

SamplePacker::SamplePacker(int64_t seq_len, SampleSlice slice) : slice_(slice), row_size_(seq_len + 1) {}

bool SamplePacker::is_mine(int64_t sample) const {
  if (sample < slice_.first_sample) return false;
  const int64_t in_step = (sample - slice_.first_sample) % slice_.samples_per_step;
  return in_step >= slice_.rank_begin && in_step < slice_.rank_begin + slice_.rank_count;
}

void SamplePacker::add(std::span<const int32_t> tokens, std::vector<Row>& rows) {
  while (!tokens.empty()) {
    const int64_t missing = row_size_ - position_ % row_size_;
    const auto taken = tokens.first(std::min<size_t>(tokens.size(), static_cast<size_t>(missing)));
    if (is_mine(num_samples())) {
      if (row_.tokens.empty()) row_.tokens.reserve(static_cast<size_t>(row_size_));
      row_.sample = num_samples();
      row_.tokens.insert(row_.tokens.end(), taken.begin(), taken.end());
    }
    position_ += static_cast<int64_t>(taken.size());
    tokens = tokens.subspan(taken.size());
    if (static_cast<int64_t>(row_.tokens.size()) == row_size_) rows.push_back(std::exchange(row_, {}));
  }
}

int64_t SamplePacker::num_tokens_to_skip() const {
  return std::max<int64_t>(0, slice_.first_sample * row_size_ - position_);
}

void SamplePacker::skip(int64_t num_tokens) {
  TORCH_INTERNAL_ASSERT(num_tokens <= num_tokens_to_skip());
  position_ += num_tokens;
}

int64_t SamplePacker::num_missing_rows() const {
  if (num_tokens_to_skip() > 0) return 0;
  const int64_t in_last_step = (num_samples() - slice_.first_sample) % slice_.samples_per_step;
  if (in_last_step == 0) return 0;
  return slice_.rank_count - std::clamp<int64_t>(in_last_step - slice_.rank_begin, 0, slice_.rank_count);
}

}  // namespace titan::data
