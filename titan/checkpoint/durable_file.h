// Files that are there wholly or not at all, through crashes and power cuts: written under a temporary name, flushed to
// the disk, renamed, and the folder flushed too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>

namespace titan::checkpoint {

class DurableFile {
 public:
  // Opens `path` + ".partial" for writing. Every function throws c10::Error naming the path and the system's reason.
  explicit DurableFile(std::filesystem::path path);
  // Removes what was written unless it was committed.
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);

  // Makes the file appear under its name, replacing an older one. Nothing can be written after it.
  void commit();

  // Of everything written so far; the checksum is zlib's CRC-32.
  uint64_t num_bytes() const { return num_bytes_; }
  uint32_t crc32() const { return crc32_; }

 private:
  void check(bool condition, std::string_view action) const;

  std::filesystem::path path_, partial_;
  int fd_ = -1;
  uint64_t num_bytes_ = 0;
  uint32_t crc32_ = 0;
};

// CRC-32 of a file that is there. Throws c10::ValueError if it cannot be read.
uint32_t crc32_of_file(const std::filesystem::path& path);

// Makes the names in `folder` durable: files created, renamed, removed.
void flush_folder(const std::filesystem::path& folder);

// Gives the finished folder `from` the name `to`, beside it, in one step even where `to` exists; what was there is
// removed afterwards. Where the file system cannot exchange names, the old folder is moved to `spare` for a moment: a
// crash then leaves it there, for the caller to move back.
void replace_folder(const std::filesystem::path& from, const std::filesystem::path& to,
                    const std::filesystem::path& spare);

}  // namespace titan::checkpoint
