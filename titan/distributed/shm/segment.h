// Memory of one process that others map: anonymous (memfd_create), so that it has no name that could stay behind, no
// limit but the machine's memory (a container's /dev/shm often has 64 MiB), and goes when the last process that maps
// it ends, however it ends. Others reach it through /proc/<pid>/fd while its descriptor is open.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace titan::distributed::shm {

// Where to find a segment, and how to know that it is the one meant: process ids are reused, and mean another process
// in another container.
struct SegmentAddress {
  int64_t pid = 0;
  int64_t descriptor = -1;
  int64_t bytes = 0;
  std::array<uint64_t, 2> nonce{};

  std::string to_string() const;
  static SegmentAddress parse(std::string_view text);
};

class Segment {
 public:
  // New memory of `bytes`, all zeros but for what it takes itself. Throws c10::Error if the system refuses.
  static Segment create(int64_t bytes);
  // The memory at `address`, of this process or another. Throws c10::Error, one line, if it cannot be opened or is not
  // the one meant: then the two processes do not share memory.
  static Segment open(const SegmentAddress& address);

  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  ~Segment();

  const SegmentAddress& address() const { return address_; }
  // data(): aligned to a page, `bytes` long.
  std::byte* data() const { return mapping_ + kHead; }

  // Once all have opened it. Afterwards nobody can.
  void close_descriptor();

 private:
  static constexpr int64_t kHead = 4096;  // holds the nonce
  Segment() = default;
  void map(int descriptor);

  SegmentAddress address_;
  int descriptor_ = -1;
  std::byte* mapping_ = nullptr;
};

}  // namespace titan::distributed::shm
