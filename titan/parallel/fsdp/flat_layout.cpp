#include "titan/parallel/fsdp/flat_layout.h"

#include <c10/util/Exception.h>
#include <c10/util/accumulate.h>

namespace titan::parallel {

FlatLayout::FlatLayout(const std::vector<std::vector<int64_t>>& sizes, int64_t num_shards) : num_shards_(num_shards) {
  // Every chunk begins at a multiple of 64 elements, where vector units and copies are fastest.
  constexpr int64_t kAlignment = 64;
  for (const std::vector<int64_t>& of_parameter : sizes) {
    TORCH_INTERNAL_ASSERT(!of_parameter.empty());
    Entry entry{.sizes = of_parameter};
    entry.row_numel = c10::multiply_integers(of_parameter.begin() + 1, of_parameter.end());
    entry.rows_per_shard = (of_parameter.front() + num_shards - 1) / num_shards;
    entry.chunk_numel = entry.rows_per_shard * entry.row_numel;
    entry.shard_offset = shard_numel_;
    entry.whole_offset = whole_numel_;
    shard_numel_ += (entry.chunk_numel + kAlignment - 1) / kAlignment * kAlignment;
    whole_numel_ += (entry.chunk_numel * num_shards + kAlignment - 1) / kAlignment * kAlignment;
    entries_.push_back(std::move(entry));
  }
}

at::Tensor FlatLayout::in_whole(const at::Tensor& whole, size_t i) const {
  const Entry& entry = entries_[i];
  return whole.narrow(0, entry.whole_offset, entry.sizes.front() * entry.row_numel).view(entry.sizes);
}

at::Tensor FlatLayout::in_shard(const at::Tensor& shard, size_t i, int64_t rows) const {
  const Entry& entry = entries_[i];
  std::vector<int64_t> sizes = entry.sizes;
  sizes.front() = rows;
  return shard.narrow(0, entry.shard_offset, rows * entry.row_numel).view(sizes);
}

at::Tensor FlatLayout::chunks_of(const at::Tensor& gathered, const Entry& entry) const {
  return gathered.view({num_shards_, shard_numel_}).narrow(1, entry.shard_offset, entry.chunk_numel);
}

void FlatLayout::copy_shards_in(const at::Tensor& shard, const std::vector<at::Tensor>& chunks) const {
  for (size_t i = 0; i < entries_.size(); ++i) in_shard(shard, i, chunks[i].size(0)).copy_(chunks[i]);
}

void FlatLayout::copy_out(const at::Tensor& whole, const at::Tensor& gathered) const {
  for (const Entry& entry : entries_) {
    whole.narrow(0, entry.whole_offset, num_shards_ * entry.chunk_numel)
        .view({num_shards_, entry.chunk_numel})
        .copy_(chunks_of(gathered, entry));
  }
}

void FlatLayout::copy_gradients_in(const at::Tensor& gathered, const std::vector<at::Tensor>& gradients) const {
  for (size_t i = 0; i < entries_.size(); ++i) {
    const Entry& entry = entries_[i];
    const at::Tensor chunks = chunks_of(gathered, entry);
    if (!gradients[i].defined()) {
      chunks.zero_();
      continue;
    }
    // Chunks that are full, one that is not, and empty ones.
    const int64_t rows = entry.sizes.front();
    const int64_t num_full = entry.rows_per_shard == 0 ? num_shards_ : rows / entry.rows_per_shard;
    const at::Tensor gradient = gradients[i].contiguous().view({-1});
    const int64_t full_numel = num_full * entry.chunk_numel;
    chunks.narrow(0, 0, num_full).copy_(gradient.narrow(0, 0, full_numel).view({num_full, entry.chunk_numel}));
    if (num_full == num_shards_) continue;
    const int64_t rest = rows * entry.row_numel - full_numel;
    chunks[num_full].narrow(0, 0, rest).copy_(gradient.narrow(0, full_numel, rest));
    chunks[num_full].narrow(0, rest, entry.chunk_numel - rest).zero_();
    chunks.narrow(0, num_full + 1, num_shards_ - num_full - 1).zero_();
  }
}

}  // namespace titan::parallel
