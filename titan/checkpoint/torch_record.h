// One tensor, or one plain object, as torch.save wrote it: a zip archive with a pickle, which for a tensor says how to
// rebuild it, and the raw bytes of its storage. DCP's .distcp files are such records, one after the other.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "titan/checkpoint/mapped_file.h"
#include "titan/pickle/pickle.h"

namespace titan::checkpoint {

// Where the elements of a saved tensor are, and what vouches for them.
struct StoredTensor {
  c10::ScalarType dtype = c10::kFloat;
  std::vector<int64_t> sizes, strides;
  uint64_t data_at = 0;  // the first element, in bytes from the begin of the file
  // The bytes of its storage, which may hold more than the tensor.
  uint64_t storage_at = 0, storage_bytes = 0;
  uint32_t storage_crc32 = 0;
};

// What the `length` bytes of `file` from `offset` on say of themselves; the elements are not read. `what` stands in
// messages for whose record it is. Throws c10::ValueError naming file and byte for anything malformed, and for objects
// that are no plain tensor.
StoredTensor find_torch_record(const MappedFile& file, uint64_t offset, uint64_t length, const std::string& what);

// The tensor itself, with the strides it was saved with; where alignment permits, it lies in the mapping. Throws as
// above, and if the bytes do not have their checksum.
at::Tensor read_torch_record(const std::shared_ptr<const MappedFile>& file, uint64_t offset, uint64_t length,
                             const std::string& what);

// The saved object, which is none but of numbers, texts, bytes, tuples, lists and dicts. Throws c10::ValueError for any
// other.
std::unique_ptr<const pickle::Pickle> read_plain_record(const MappedFile& file, uint64_t offset, uint64_t length,
                                                        const std::string& what);

}  // namespace titan::checkpoint
