// Bytes of a file from its beginning to its end, unpacked where they are compressed. No seeking and no lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>

namespace titan::data {

class ByteReader {
 public:
  virtual ~ByteReader() = default;

  // Up to `size` bytes into `bytes`; 0 only at the end. Throws c10::Error that names the file where it cannot be read,
  // is cut short or is damaged.
  virtual size_t read(char* bytes, size_t size) = 0;
};

enum class Compression { kNone, kGzip, kZstd };

// By the first bytes, not by the name. Throws c10::Error where the file cannot be read.
Compression detect_compression(const std::filesystem::path& path);

// Gzip may have several members, zstd several frames (pigz, pzstd, cat a.gz b.gz).
std::unique_ptr<ByteReader> open_bytes(const std::filesystem::path& path);

// Bytes [begin, begin + size) of the open file `fd`, which must outlive the reader; its position is not moved. `name`
// is for errors.
std::unique_ptr<ByteReader> open_range(int fd, int64_t begin, int64_t size, std::filesystem::path name);

}  // namespace titan::data
