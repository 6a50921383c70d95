// Named tensors of a checkpoint on disk, whatever its format: what a load sees. It only reads; which tensor goes into
// which parameter, and under which name, is the caller's business.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "titan/checkpoint/boxes.h"

namespace titan::checkpoint {

struct TensorInfo {
  c10::ScalarType dtype;
  std::vector<int64_t> shape;

  bool operator==(const TensorInfo&) const = default;
};

class TensorReader {
 public:
  virtual ~TensorReader() = default;

  // Every tensor by its name in the file. Known from the headers: no tensor is read for it.
  virtual const std::map<std::string, TensorInfo>& tensors() const = 0;

  // A contiguous CPU tensor of the stored dtype and shape. It may lie in a private mapping of the file, which it keeps
  // alive: writing to it is legal and never reaches the file. Throws c10::ValueError for an unknown name, and where the
  // file is malformed, naming file, tensor and byte offset. May be called by several threads at once.
  virtual at::Tensor read(const std::string& name) const = 0;

  // Copies the elements of the tensor in `box` into `to`, which has the box's sizes, and any dtype, strides and device.
  // Throws as read().
  virtual void read_into(const std::string& name, const Box& box, const at::Tensor& to) const;
};

// Opens `path`, told by content: a folder with .metadata (PyTorch's DCP), a folder with model.safetensors or
// model.safetensors.index.json, one .safetensors file. Throws c10::ValueError saying what was looked for if it is none.
std::unique_ptr<TensorReader> open_tensors(const std::filesystem::path& path);

}  // namespace titan::checkpoint
