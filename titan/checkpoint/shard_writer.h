// Writes one rank's part of a DCP checkpoint: its boxes of tensors and its objects, as records in __<rank>_<i>.distcp,
// one file for each thread. What the other ranks write, and that it all fits together, is save_plan.h's matter.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "titan/checkpoint/dcp_metadata.h"
#include "titan/checkpoint/file_writer.h"
#include "titan/checkpoint/plain_value.h"

namespace titan::checkpoint {

// One chunk of a tensor.
struct ShardItem {
  std::string name;
  TensorInfo info;  // of the whole tensor, as it is stored
  Box box;
  // The elements, of any dtype, strides and device, converted as they are written. Called once, by a thread of the
  // writer, and dropped afterwards: what is read or made on demand needs no memory before.
  std::function<at::Tensor()> data;

  uint64_t num_bytes() const;
};

struct WrittenShard {
  DcpMetadata metadata;  // of these items alone
  std::vector<WrittenFile> files;
};

// Into `folder`, which is there. Returns once everything is on the disk. Throws c10::Error naming the file and the
// system's reason.
WrittenShard write_shard(const std::filesystem::path& folder, int64_t rank, const std::vector<ShardItem>& items,
                         const std::map<std::string, PlainValue>& objects, int64_t num_threads);

}  // namespace titan::checkpoint
