#include "titan/checkpoint/staging.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "titan/checkpoint/io_threads.h"

namespace titan::checkpoint {
namespace {

constexpr uint64_t kAlignment = 64;

}  // namespace

std::vector<ShardItem> Staging::copy(const std::vector<ShardItem>& items, int64_t num_threads) {
  const at::NoGradGuard no_grad;

  // 1. A place for each.
  std::vector<int64_t> places;
  uint64_t num_bytes = 0;
  bool on_gpu = false;
  for (const ShardItem& item : items) {
    places.push_back(static_cast<int64_t>(num_bytes));
    num_bytes += (item.num_bytes() + kAlignment - 1) / kAlignment * kAlignment;
    on_gpu |= !item.data().device().is_cpu();
  }
  const auto size = static_cast<int64_t>(num_bytes);
  if (!buffer_.defined() || buffer_.numel() < size) {
    buffer_ = at::Tensor();  // never two at a time
    buffer_ = at::empty({size}, at::TensorOptions(at::kByte).pinned_memory(pinned_ && on_gpu));
  }

  // 2. The copies.
  std::vector<ShardItem> staged = items;
  for_each_of(static_cast<int64_t>(items.size()), num_threads, [&](int64_t i) {
    const at::NoGradGuard no_grad_here;
    ShardItem& item = staged[static_cast<size_t>(i)];
    at::Tensor place = buffer_.narrow(0, places[static_cast<size_t>(i)], static_cast<int64_t>(item.num_bytes()))
                           .view(item.info.dtype)
                           .view(item.box.sizes);
    place.copy_(item.data());
    item.data = [place] { return place; };
  });
  return staged;
}

}  // namespace titan::checkpoint
