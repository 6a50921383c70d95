#include "titan/checkpoint/file_writer.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "titan/checkpoint/crc32.h"

namespace titan::checkpoint {
namespace {

// The disk starts while the rest is still being written, so that the flush at the end has little left.
constexpr uint64_t kWriteBackBytes = uint64_t{32} << 20;

}  // namespace

FileWriter::FileWriter(std::filesystem::path path) : path_(std::move(path)) {
  written_.name = path_.filename().string();
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  check(fd_ >= 0, "created");
}

FileWriter::~FileWriter() {
  if (fd_ >= 0) ::close(fd_);
}

uint32_t FileWriter::write(std::span<const std::byte> bytes) {
  uint32_t crc32 = 0;
  while (!bytes.empty()) {
    // Block by block: what the checksum has just read is still in the cache when it is written.
    const uint64_t in_block = written_.num_bytes % kChecksumBlock;
    const auto part = bytes.first(std::min<size_t>(bytes.size(), kChecksumBlock - in_block));
    const uint32_t crc32_of_part = crc32_of(part);
    if (in_block == 0) written_.block_crc32s.push_back(0);
    auto& of_block = written_.block_crc32s.back();
    of_block = crc32_of_both(of_block, crc32_of_part, part.size());
    crc32 = crc32_of_both(crc32, crc32_of_part, part.size());
    write_all(part);
    bytes = bytes.subspan(part.size());
  }
  return crc32;
}

void FileWriter::write_all(std::span<const std::byte> bytes) {
  written_.num_bytes += bytes.size();
  while (!bytes.empty()) {
    const ssize_t size = ::write(fd_, bytes.data(), bytes.size());
    if (size < 0 && errno == EINTR) continue;
    check(size >= 0, "written");
    bytes = bytes.subspan(static_cast<size_t>(size));
  }
  if (written_.num_bytes - write_back_from_ < kWriteBackBytes) return;
  // A hint: file systems that lack it lose nothing but time.
  ::sync_file_range(fd_, static_cast<off64_t>(write_back_from_),
                    static_cast<off64_t>(written_.num_bytes - write_back_from_), SYNC_FILE_RANGE_WRITE);
  write_back_from_ = written_.num_bytes;
}

WrittenFile FileWriter::finish() {
  check(::fsync(fd_) == 0, "flushed to the disk");
  check(::close(std::exchange(fd_, -1)) == 0, "closed");
  return std::move(written_);
}

void FileWriter::check(bool condition, std::string_view action) const {
  TORCH_CHECK(condition, path_.string(), ": cannot be ", action, ": ", std::strerror(errno));
}

}  // namespace titan::checkpoint
