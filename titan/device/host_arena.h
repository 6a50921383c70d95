// A heap for large tensors of a CPU: one range of addresses, in which freed neighbours become one block again, and a
// request takes the smallest block that holds it. A step asks for the tensors of the step before, so after the first
// one it finds every page there; and what is held stays within a few per cent of the most that was ever in use at once.
//
// [Note: why not malloc]
// Tensors are aligned to 64 bytes. glibc before 2.38 serves an aligned request of n bytes from a chunk of n + 64 and
// more, so the chunk that such a tensor leaves is never large enough for the next one of its size: a run of the 29M
// benchmark model held 1.3 GiB for 0.9 in use, whatever malloc's thresholds.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>

namespace titan::device {

class HostArena {
 public:
  // Reserves addresses, not memory. Where the system refuses them (ulimit -v), the arena has no room at all.
  explicit HostArena(size_t capacity_bytes);
  ~HostArena();
  HostArena(const HostArena&) = delete;
  HostArena& operator=(const HostArena&) = delete;

  // At least `num_bytes` (> 0) that begin at a page; null if they do not fit. Any thread may call it.
  void* take(size_t num_bytes);
  // What take() gave. Any thread may call it.
  void give_back(void* block);

  bool contains(const void* address) const { return address >= begin_ && address < begin_ + capacity_; }

  struct Use {
    size_t in_use, held;  // bytes now: given away, and of the addresses that were ever given away
  };
  Use use() const;

 private:
  using Offset = size_t;  // from begin_
  void add_free(Offset offset, size_t size);
  void remove_free(std::map<Offset, size_t>::iterator block);
  bool grow_to(size_t end);

  mutable std::mutex mutex_;
  std::byte* begin_ = nullptr;
  size_t capacity_ = 0;
  size_t end_ = 0;  // what lies behind was never used
  size_t in_use_ = 0;
  std::map<Offset, size_t> free_;                // no two of them touch
  std::set<std::pair<size_t, Offset>> by_size_;  // the same blocks
  std::unordered_map<Offset, size_t> taken_;
};

}  // namespace titan::device
