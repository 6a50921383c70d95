// Writes TensorBoard event files: scalars only, readable by TensorBoard and its EventAccumulator. The records are
// TFRecords (length, masked CRC-32C, event, masked CRC-32C) of the Event message in event.proto.
#pragma once

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string_view>

namespace titan::metrics {

class TensorBoardWriter {
 public:
  // Creates `folder` and in it a new file events.out.tfevents.<seconds>.<host>.<process id>.<count>. Throws c10::Error
  // where that fails.
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  ~TensorBoardWriter();
  TensorBoardWriter(const TensorBoardWriter&) = delete;
  TensorBoardWriter& operator=(const TensorBoardWriter&) = delete;

  // Buffered until flush(); stored as float32, as TensorBoard's scalars are.
  void add_scalar(std::string_view tag, double value, int64_t step);

  void flush();

  const std::filesystem::path& path() const { return path_; }

 private:
  void write_record(std::string_view event);

  std::filesystem::path path_;
  std::FILE* file_ = nullptr;
};

// CRC-32C (Castagnoli; RFC 3720, section 12.1), masked as TFRecord stores it: rotated right by 15, plus 0xa282ead8.
uint32_t masked_crc32c(std::string_view bytes);

}  // namespace titan::metrics
