// Reads the tensors of a PyTorch distributed checkpoint (DCP: .metadata and .distcp files), whatever number of ranks
// wrote it: a tensor's chunks are assembled. Read-only, and nothing of the checkpoint's Python is run.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "titan/checkpoint/dcp_metadata.h"
#include "titan/checkpoint/mapped_file.h"
#include "titan/checkpoint/tensor_reader.h"

namespace titan::checkpoint {

class DcpReader : public TensorReader {
 public:
  // Throws c10::ValueError if `folder`/.metadata is missing or malformed, or a file it names is missing or too short.
  explicit DcpReader(std::filesystem::path folder);

  const std::map<std::string, TensorInfo>& tensors() const override { return infos_; }
  at::Tensor read(const std::string& name) const override;

  // Items that are Python objects, not tensors: present, but not read.
  const std::vector<std::string>& objects() const { return metadata_.objects; }

 private:
  at::Tensor read_chunk(const std::string& name, const DcpTensor& tensor, const DcpChunk& chunk) const;

  std::filesystem::path folder_;
  DcpMetadata metadata_;
  std::map<std::string, TensorInfo> infos_;
  std::map<std::string, std::shared_ptr<const MappedFile>> files_;
};

}  // namespace titan::checkpoint
