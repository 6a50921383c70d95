// Reads safetensors, the format of Hugging Face's model weights: 8 bytes of header length, a JSON header with dtype,
// shape and byte range of each tensor, then the bytes. Files are checked as strictly as the format's own library does:
// the ranges fill the file without holes or overlaps, so nothing can hide in one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "titan/checkpoint/mapped_file.h"
#include "titan/checkpoint/tensor_reader.h"

namespace titan::checkpoint {

class SafetensorsReader : public TensorReader {
 public:
  // `path`: a .safetensors file, or a folder with model.safetensors.index.json and the files it names, or with
  // model.safetensors. Checks all headers; reads no tensor. Throws c10::ValueError naming file and byte.
  explicit SafetensorsReader(const std::filesystem::path& path);

  const std::map<std::string, TensorInfo>& tensors() const override { return infos_; }
  at::Tensor read(const std::string& name) const override;

  // The header's __metadata__: free text by key. Of sharded files, those of all, the first one's winning.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  struct Place {
    std::shared_ptr<const MappedFile> file;
    uint64_t offset;
  };

  void add_file(const std::filesystem::path& file);
  void add_index(const std::filesystem::path& index);

  std::map<std::string, TensorInfo> infos_;
  std::map<std::string, Place> places_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace titan::checkpoint
