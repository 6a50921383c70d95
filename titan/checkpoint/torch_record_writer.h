// The bytes that torch.save puts around one tensor, or around one plain value: a zip archive of stored records
// (PKWARE's APPNOTE.TXT, section 4.3). The payload itself is written by the caller, between head and tail, so that a
// tensor of any size streams.
#pragma once

#include <ATen/core/ATen_fwd.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <string>

#include "titan/checkpoint/plain_value.h"

namespace titan::checkpoint {

// The largest payload: a larger one would need zip64. Larger tensors are stored as several chunks.
inline constexpr uint64_t kMaxRecordBytes = uint64_t{1} << 30;

class TorchRecord {
 public:
  // Of a contiguous tensor. Throws c10::ValueError for a dtype that torch.save does not know.
  TorchRecord(c10::ScalarType dtype, at::IntArrayRef sizes);

  uint64_t payload_bytes() const { return payload_bytes_; }
  // What stands before the payload. Where the record starts at a multiple of 64 bytes, so does the payload.
  const std::string& head() const { return head_; }
  // What stands after it.
  std::string tail(uint32_t payload_crc32) const;

 private:
  std::string head_, directory_;  // the zip directory's entries so far
  uint64_t payload_bytes_ = 0, payload_header_ = 0;
  uint16_t num_entries_ = 0;
};

// The whole record of a value.
std::string record_of(const PlainValue& value);

}  // namespace titan::checkpoint
