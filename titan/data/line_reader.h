// Lines of a byte stream, each with its number and offset. Knows nothing of what stands in them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "titan/data/byte_reader.h"

namespace titan::data {

struct Line {
  std::string bytes;      // without "\n" or "\r\n", and without a byte order mark before the first line
  int64_t number = 0;     // from 1
  int64_t offset = 0;     // of its first byte in the stream
  bool too_long = false;  // more than the limit: `bytes` is empty
};

class LineReader {
 public:
  // Lines of more than max_bytes are read past, not held.
  LineReader(std::unique_ptr<ByteReader> bytes, int64_t max_bytes);

  // The next line into `line`, whose capacity is used again; false at the end. The last line needs no newline.
  bool next(Line& line);

 private:
  std::unique_ptr<ByteReader> bytes_;
  size_t max_bytes_;
  std::vector<char> buffer_;
  size_t begin_ = 0;  // buffer_[begin_, end_) is read but not handed out
  size_t end_ = 0;
  int64_t offset_ = 0;  // of buffer_[begin_]
  int64_t number_ = 0;
};

// Only spaces, tabs and carriage returns, or nothing.
bool is_blank(std::string_view line);

}  // namespace titan::data
