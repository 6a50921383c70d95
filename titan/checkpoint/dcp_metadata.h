// What the .metadata of a PyTorch distributed checkpoint (DCP) says: which tensors there are, in which pieces they lie
// in which file. The file is a pickle of torch.distributed.checkpoint.metadata.Metadata; see pickle.h for how it is
// read without running any of it. No tensor is read or written here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "titan/checkpoint/boxes.h"
#include "titan/checkpoint/tensor_reader.h"

namespace titan::checkpoint {

// Where a record is: a file relative to the checkpoint's folder, and inside it, and bytes of that file.
struct DcpPlace {
  std::string file;
  uint64_t offset = 0, length = 0;
};

struct DcpChunk {
  Box box;  // of the global tensor
  DcpPlace place;
};

struct DcpTensor {
  TensorInfo info;
  std::vector<DcpChunk> chunks;  // non-empty boxes that fill the tensor without overlap
};

struct DcpMetadata {
  std::map<std::string, DcpTensor> tensors;
  // Python objects (learning rates, data loader states ...), each a pickle.
  std::map<std::string, DcpPlace> objects;
};

// Throws c10::ValueError naming file and byte for anything malformed, missing or unknown.
DcpMetadata read_dcp_metadata(const std::filesystem::path& file);

// Adds what another rank, or another file, holds of the same state. A tensor that both know has the same info.
void merge(DcpMetadata& metadata, DcpMetadata other);

// The pickle of `metadata`, as torch 2.11 would write it. Names are grouped as TorchTitan nests them: those of the
// model stand for themselves, the others under their section.
std::string to_pickle(const DcpMetadata& metadata);

}  // namespace titan::checkpoint
