// Writes one file from front to back, flushes it to the disk, and keeps its checksums: one CRC-32 for every block of
// kChecksumBlock bytes, so that whoever reads a part later can check that part alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace titan::checkpoint {

inline constexpr uint64_t kChecksumBlock = uint64_t{1} << 20;

struct WrittenFile {
  std::string name;  // relative to the folder
  uint64_t num_bytes = 0;
  std::vector<uint32_t> block_crc32s;  // the last block may be shorter; none for an empty file

  bool operator==(const WrittenFile&) const = default;
};

class FileWriter {
 public:
  // Creates `path`, or empties it. Every function throws c10::Error naming the path and the system's reason.
  explicit FileWriter(std::filesystem::path path);
  ~FileWriter();  // closes; what was written stays
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;

  // Returns the CRC-32 of `bytes`.
  uint32_t write(std::span<const std::byte> bytes);
  uint32_t write(std::string_view text) { return write(std::as_bytes(std::span(text))); }

  uint64_t num_bytes() const { return written_.num_bytes; }

  // Flushes to the disk and closes. Nothing can be written after it.
  WrittenFile finish();

 private:
  void write_all(std::span<const std::byte> bytes);
  void check(bool condition, std::string_view action) const;

  std::filesystem::path path_;
  int fd_ = -1;
  WrittenFile written_;
  uint64_t write_back_from_ = 0;  // the system was asked to start writing what lies before
};

}  // namespace titan::checkpoint
