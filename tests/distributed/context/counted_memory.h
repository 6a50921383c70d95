// Counts the bytes of CPU tensors that one thread has allocated and not yet freed, wherever they are freed: with ranks
// as threads, the memory of one rank.
#pragma once

#include <cstdint>
#include <memory>

namespace titan::test {

class CountedMemory {
 public:
  // Counts what this thread allocates while it lives. One per thread at a time.
  CountedMemory();
  ~CountedMemory();
  CountedMemory(const CountedMemory&) = delete;
  CountedMemory& operator=(const CountedMemory&) = delete;

  // The largest number of bytes at once, so far.
  int64_t peak() const;

  struct Counter;

 private:
  std::shared_ptr<Counter> counter_;
};

}  // namespace titan::test
