#include "titan/device/host_arena.h"

#include <c10/util/Exception.h>
#include <sys/mman.h>
#include <unistd.h>

#include <iterator>

namespace titan::device {
namespace {

size_t whole_pages(size_t num_bytes) {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (num_bytes + page - 1) / page * page;
}

}  // namespace

HostArena::HostArena(size_t capacity_bytes) {
  const size_t size = whole_pages(capacity_bytes);
  void* const reserved =
      mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, /*fd=*/-1, /*offset=*/0);
  if (reserved == MAP_FAILED) return;
  begin_ = static_cast<std::byte*>(reserved);
  capacity_ = size;
}

HostArena::~HostArena() {
  if (begin_ != nullptr) munmap(begin_, capacity_);
}

void* HostArena::take(size_t num_bytes) {
  if (num_bytes > capacity_) return nullptr;
  const size_t size = whole_pages(num_bytes);
  const std::lock_guard lock(mutex_);
  auto fitting = by_size_.lower_bound({size, 0});
  if (fitting == by_size_.end()) {
    // What is free at the end is taken along.
    const auto last = free_.empty() ? free_.end() : std::prev(free_.end());
    const bool touches_end = last != free_.end() && last->first + last->second == end_;
    const Offset begin = touches_end ? last->first : end_;
    if (!grow_to(begin + size)) return nullptr;
    if (touches_end) remove_free(last);
    add_free(begin, size);
    fitting = by_size_.lower_bound({size, 0});
  }
  const auto [free_size, offset] = *fitting;
  remove_free(free_.find(offset));
  if (free_size > size) add_free(offset + size, free_size - size);
  taken_.emplace(offset, size);
  in_use_ += size;
  return begin_ + offset;
}

void HostArena::give_back(void* block) {
  const std::lock_guard lock(mutex_);
  const auto taken = taken_.find(static_cast<size_t>(static_cast<std::byte*>(block) - begin_));
  TORCH_INTERNAL_ASSERT(taken != taken_.end(), "a block is given back that was not taken");
  Offset offset = taken->first;
  size_t size = taken->second;
  taken_.erase(taken);
  in_use_ -= size;

  const auto after = free_.lower_bound(offset);
  if (after != free_.begin()) {
    const auto before = std::prev(after);
    if (before->first + before->second == offset) {
      offset = before->first;
      size += before->second;
      remove_free(before);
    }
  }
  if (after != free_.end() && after->first == offset + size) {
    size += after->second;
    remove_free(after);
  }
  add_free(offset, size);
}

HostArena::Use HostArena::use() const {
  const std::lock_guard lock(mutex_);
  return {.in_use = in_use_, .held = end_};
}

void HostArena::add_free(Offset offset, size_t size) {
  free_.emplace(offset, size);
  by_size_.emplace(size, offset);
}

void HostArena::remove_free(std::map<Offset, size_t>::iterator block) {
  by_size_.erase({block->second, block->first});
  free_.erase(block);
}

bool HostArena::grow_to(size_t end) {
  if (end > capacity_) return false;
  if (mprotect(begin_ + end_, end - end_, PROT_READ | PROT_WRITE) != 0) return false;
  end_ = end;
  return true;
}

}  // namespace titan::device
