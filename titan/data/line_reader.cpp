#include "titan/data/line_reader.h"

#include <cstring>

namespace titan::data {
namespace {

constexpr size_t kBufferBytes = size_t{1} << 18;
constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

}  // namespace

LineReader::LineReader(std::unique_ptr<ByteReader> bytes, int64_t max_bytes)
    : bytes_(std::move(bytes)), max_bytes_(static_cast<size_t>(max_bytes)), buffer_(kBufferBytes) {}

bool LineReader::next(Line& line) {
  line.bytes.clear();
  line.too_long = false;
  line.offset = offset_;
  bool found_any = false;
  for (bool complete = false; !complete;) {
    // 1. More bytes, if there are.
    if (begin_ == end_) {
      begin_ = 0;
      end_ = bytes_->read(buffer_.data(), buffer_.size());
      if (end_ == 0) break;
    }
    // 2. Up to the newline, or all there is.
    found_any = true;
    const char* from = buffer_.data() + begin_;
    const void* newline = std::memchr(from, '\n', end_ - begin_);
    complete = newline != nullptr;
    const size_t size = complete ? static_cast<size_t>(static_cast<const char*>(newline) - from) : end_ - begin_;
    // One more than the limit is let in for a carriage return, which is dropped below.
    if (line.bytes.size() + size > max_bytes_ + 1) line.too_long = true;
    if (!line.too_long) line.bytes.append(from, size);
    const size_t taken = size + (complete ? 1 : 0);
    begin_ += taken;
    offset_ += static_cast<int64_t>(taken);
  }
  if (!found_any) return false;
  line.number = ++number_;
  if (line.bytes.ends_with('\r')) line.bytes.pop_back();
  if (line.bytes.size() > max_bytes_) line.too_long = true;
  if (line.too_long) std::string().swap(line.bytes);
  if (line.offset == 0 && line.bytes.starts_with(kByteOrderMark)) {
    line.bytes.erase(0, kByteOrderMark.size());
    line.offset = static_cast<int64_t>(kByteOrderMark.size());
  }
  return true;
}

bool is_blank(std::string_view line) { return line.find_first_not_of(" \t\r") == std::string_view::npos; }

}  // namespace titan::data
