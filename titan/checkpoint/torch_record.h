// One tensor as torch.save wrote it: a zip archive with the pickle of how to rebuild the tensor and the raw bytes of
// its storage. DCP's .distcp files are such records, one after the other.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>

#include "titan/checkpoint/mapped_file.h"

namespace titan::checkpoint {

// The tensor in the `length` bytes of `file` from `offset` on, with the strides it was saved with; where alignment
// permits, it lies in the mapping. `what` stands in messages for whose record it is. Throws c10::ValueError naming file
// and byte for anything malformed, and for objects that are no plain tensor.
at::Tensor read_torch_record(const std::shared_ptr<const MappedFile>& file, uint64_t offset, uint64_t length,
                             const std::string& what);

}  // namespace titan::checkpoint
