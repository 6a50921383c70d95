// What the .metadata of a PyTorch distributed checkpoint (DCP) says: which tensors there are, in which pieces they lie
// in which file. The file is a pickle of torch.distributed.checkpoint.metadata.Metadata; see pickle.h for how it is
// read without running any of it. No tensor is read here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "titan/checkpoint/tensor_reader.h"

namespace titan::checkpoint {

struct DcpChunk {
  std::vector<int64_t> offsets, sizes;  // the box of the global tensor that it fills
  std::string file;                     // relative to the checkpoint's folder, and inside it
  uint64_t offset = 0, length = 0;      // of its record in that file, in bytes
};

struct DcpTensor {
  TensorInfo info;
  std::vector<DcpChunk> chunks;  // non-empty boxes that fill the tensor without overlap
};

struct DcpMetadata {
  std::map<std::string, DcpTensor> tensors;
  // Names of Python objects (learning rates, data loader states ...): pickles of any class, so they are only listed.
  std::vector<std::string> objects;
};

// Throws c10::ValueError naming file and byte for anything malformed, missing or unknown.
DcpMetadata read_dcp_metadata(const std::filesystem::path& file);

}  // namespace titan::checkpoint
