#include "titan/checkpoint/range_reader.h"

#include <algorithm>
#include <utility>

#include "titan/checkpoint/manifest.h"

namespace titan::checkpoint {

RangeReader::RangeReader(std::shared_ptr<const MappedFile> file, const WrittenFile* written)
    : file_(std::move(file)), written_(written), checked_(written == nullptr ? 0 : written->block_crc32s.size()) {}

void RangeReader::read(uint64_t offset, std::span<std::byte> to) const {
  if (written_ == nullptr) return read_unchecked(offset, to);
  while (!to.empty()) {
    // Block by block: what has just been read is checked while it is in the cache.
    const uint64_t block = offset / kChecksumBlock, begin_of_block = block * kChecksumBlock;
    const uint64_t end_of_block = std::min(begin_of_block + kChecksumBlock, written_->num_bytes);
    const auto part = to.first(std::min<size_t>(to.size(), begin_of_block + kChecksumBlock - offset));
    read_unchecked(offset, part);
    if (begin_of_block == offset && end_of_block == offset + part.size()) {
      check_blocks(file_->path(), *written_, block, part);
    } else {
      check_block(block);
    }
    offset += part.size();
    to = to.subspan(part.size());
  }
}

void RangeReader::check(uint64_t offset, uint64_t num_bytes) const {
  if (written_ == nullptr || num_bytes == 0) return;
  for (uint64_t block = offset / kChecksumBlock; block * kChecksumBlock < offset + num_bytes; ++block) {
    check_block(block);
  }
}

void RangeReader::check_block(uint64_t block) const {
  if (block < checked_.size() && checked_[block]) return;
  const uint64_t begin = block * kChecksumBlock;
  std::vector<std::byte> bytes(std::min(kChecksumBlock, written_->num_bytes - std::min(begin, written_->num_bytes)));
  read_unchecked(begin, bytes);
  check_blocks(file_->path(), *written_, block, bytes);
  if (block < checked_.size()) checked_[block] = true;
}

void RangeReader::read_unchecked(uint64_t offset, std::span<std::byte> to) const {
  file_->read(offset, to);
  num_bytes_read_ += to.size();
}

}  // namespace titan::checkpoint
