// Reads byte ranges of one file and, where its checksums are known, vouches for them: of each block that a range
// touches the rest is read too, once, and checked. It knows no format.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "titan/checkpoint/file_writer.h"
#include "titan/checkpoint/mapped_file.h"

namespace titan::checkpoint {

// May be used by several threads at once.
class RangeReader {
 public:
  // `written`, which may be null, is what is known of the file; it must outlive this.
  RangeReader(std::shared_ptr<const MappedFile> file, const WrittenFile* written);

  const std::shared_ptr<const MappedFile>& file() const { return file_; }
  bool has_checksums() const { return written_ != nullptr; }

  // Throws c10::ValueError if the file lacks the bytes, or they are damaged.
  void read(uint64_t offset, std::span<std::byte> to) const;
  // Checks bytes that are used where they are mapped. Without checksums it does nothing.
  void check(uint64_t offset, uint64_t num_bytes) const;

  // So far, those read for a checksum only among them.
  uint64_t num_bytes_read() const { return num_bytes_read_; }

 private:
  void check_block(uint64_t block) const;
  void read_unchecked(uint64_t offset, std::span<std::byte> to) const;

  std::shared_ptr<const MappedFile> file_;
  const WrittenFile* written_;
  mutable std::vector<std::atomic<bool>> checked_;  // by block
  mutable std::atomic<uint64_t> num_bytes_read_ = 0;
};

}  // namespace titan::checkpoint
