// Reads a PyTorch distributed checkpoint (DCP: .metadata and .distcp files), whatever number of ranks wrote it: what is
// wanted of a tensor is put together from its chunks. Read-only, and nothing of the checkpoint's Python is run.
//
// [Note: what vouches for bytes]
// A checkpoint of this program has checksums of every block of every file (manifest.h), and each block that is touched
// is checked. One of PyTorch's has a checksum for each record, checked wherever a record is read as a whole; of parts
// of records nothing can be known but by reading all of them, which `titan checkpoint verify` does.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "titan/checkpoint/dcp_metadata.h"
#include "titan/checkpoint/manifest.h"
#include "titan/checkpoint/range_reader.h"
#include "titan/checkpoint/tensor_reader.h"
#include "titan/checkpoint/torch_record.h"

namespace titan::checkpoint {

class DcpReader : public TensorReader {
 public:
  // Throws c10::ValueError if `folder`/.metadata is missing, malformed or damaged, or a file it names is missing or too
  // short.
  explicit DcpReader(std::filesystem::path folder);

  const std::map<std::string, TensorInfo>& tensors() const override { return infos_; }
  at::Tensor read(const std::string& name) const override;
  // Reads what is needed of the chunks that share elements with `box`, straight into `to` where their elements lie
  // alike.
  void read_into(const std::string& name, const Box& box, const at::Tensor& to) const override;

  const DcpMetadata& metadata() const { return metadata_; }
  // Nothing for a checkpoint that another program wrote.
  const std::optional<Manifest>& manifest() const { return manifest_; }

  // A Python object that is made of plain values; throws c10::ValueError for any other, naming what it is of.
  std::unique_ptr<const pickle::Pickle> read_object(const std::string& name) const;
  // Of an int; nothing if there is no such object.
  std::optional<int64_t> read_integer(const std::string& name) const;

  // Of all files so far.
  uint64_t num_bytes_read() const;

 private:
  const DcpTensor& tensor_of(const std::string& name) const;
  at::Tensor read_chunk(const std::string& name, const DcpTensor& tensor, const DcpChunk& chunk) const;
  void check(const std::string& name, const DcpTensor& tensor, const DcpChunk& chunk, const StoredTensor& stored) const;

  std::filesystem::path folder_;
  std::optional<Manifest> manifest_;
  DcpMetadata metadata_;
  std::map<std::string, TensorInfo> infos_;
  std::map<std::string, std::unique_ptr<RangeReader>> files_;
};

}  // namespace titan::checkpoint
