// Writes safetensors (see safetensors_reader.h), one tensor in memory at a time. The largest elements come first in a
// file, as the format's own library has it, so every tensor is aligned and can be used where it lies.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "titan/checkpoint/file_writer.h"
#include "titan/checkpoint/tensor_reader.h"

namespace titan::checkpoint {

// Hands out a tensor to be written: dtype and shape as announced, on any device, of any strides. Called once a name.
using TensorSource = std::function<at::Tensor(const std::string& name)>;

// One file, there wholly or not at all. Throws c10::ValueError for a dtype that the format lacks, c10::Error where
// writing fails.
WrittenFile write_safetensors(const std::filesystem::path& file, const std::map<std::string, TensorInfo>& tensors,
                              const TensorSource& source);

// model.safetensors in `folder` if all tensors fit one file of `max_file_bytes`; else model-00001-of-0000N.safetensors
// and so on, in the order of names, and model.safetensors.index.json, as `transformers` reads them. A tensor is never
// split, so a larger one gets a file of its own.
std::vector<WrittenFile> write_safetensors_folder(const std::filesystem::path& folder,
                                                  const std::map<std::string, TensorInfo>& tensors,
                                                  const TensorSource& source, uint64_t max_file_bytes = 5'000'000'000);

TensorInfo info_of(const at::Tensor& tensor);

}  // namespace titan::checkpoint
