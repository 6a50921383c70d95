#include "titan/checkpoint/safetensors_writer.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>

#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/durable_file.h"

namespace titan::checkpoint {
namespace {

using Infos = std::map<std::string, TensorInfo>;

uint64_t num_bytes_of(const TensorInfo& info) {
  uint64_t num_bytes = c10::elementSize(info.dtype);
  for (const int64_t dim : info.shape) num_bytes *= static_cast<uint64_t>(dim);
  return num_bytes;
}

// Larger elements first: each then starts at a multiple of its size.
std::vector<std::string> names_by_alignment(const Infos& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, info] : tensors) names.push_back(name);
  std::stable_sort(names.begin(), names.end(), [&](const std::string& a, const std::string& b) {
    return c10::elementSize(tensors.at(a).dtype) > c10::elementSize(tensors.at(b).dtype);
  });
  return names;
}

std::string header_of(const Infos& tensors, const std::vector<std::string>& names) {
  nlohmann::ordered_json header;
  header["__metadata__"] = {{"format", "pt"}};  // `transformers` refuses files without it
  uint64_t begin = 0;
  for (const std::string& name : names) {
    const TensorInfo& info = tensors.at(name);
    const uint64_t end = begin + num_bytes_of(info);
    TORCH_CHECK_VALUE(name != "__metadata__", "safetensors: a tensor cannot be called __metadata__");
    header[name] = {{"dtype", safetensors_name(info.dtype)}, {"shape", info.shape}, {"data_offsets", {begin, end}}};
    begin = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + 7) / 8 * 8, ' ');  // so that the data starts at a multiple of 8
  return text;
}

void append(DurableFile& file, const at::Tensor& tensor) {
  const auto on_cpu = tensor.detach().to(c10::kCPU).contiguous();
  file.write(std::span(static_cast<const std::byte*>(on_cpu.const_data_ptr()), on_cpu.nbytes()));
}

}  // namespace

TensorInfo info_of(const at::Tensor& tensor) { return {tensor.scalar_type(), tensor.sizes().vec()}; }

WrittenFile write_safetensors(const std::filesystem::path& path, const Infos& tensors, const TensorSource& source) {
  const auto names = names_by_alignment(tensors);
  const std::string header = header_of(tensors, names);
  DurableFile file(path);
  const auto header_bytes = static_cast<uint64_t>(header.size());
  file.write(std::as_bytes(std::span(&header_bytes, 1)));
  file.write(header);
  for (const std::string& name : names) {
    const auto tensor = source(name);
    TORCH_INTERNAL_ASSERT(info_of(tensor) == tensors.at(name), "announced otherwise: ", name);
    append(file, tensor);
  }
  return file.commit();
}

std::vector<WrittenFile> write_safetensors_folder(const std::filesystem::path& folder, const Infos& tensors,
                                                  const TensorSource& source, uint64_t max_file_bytes) {
  // 1. Fill files in the order of names.
  std::vector<Infos> files(1);
  uint64_t file_bytes = 0, total_bytes = 0;
  for (const auto& [name, info] : tensors) {
    const uint64_t num_bytes = num_bytes_of(info);
    if (!files.back().empty() && num_bytes > max_file_bytes - std::min(file_bytes, max_file_bytes)) {
      files.emplace_back();
      file_bytes = 0;
    }
    files.back().emplace(name, info);
    file_bytes += num_bytes;
    total_bytes += num_bytes;
  }
  if (files.size() == 1) return {write_safetensors(folder / "model.safetensors", tensors, source)};

  // 2. Write them, and note what is where.
  std::vector<WrittenFile> written;
  nlohmann::json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", nlohmann::json::object()}};
  for (size_t i = 0; i < files.size(); ++i) {
    const std::string file = fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, files.size());
    written.push_back(write_safetensors(folder / file, files[i], source));
    for (const auto& [name, info] : files[i]) index["weight_map"][name] = file;
  }

  // 3. The index last: without it the folder is not taken for a model.
  written.push_back(write_durable_file(folder / "model.safetensors.index.json", index.dump(2) + "\n"));
  return written;
}

}  // namespace titan::checkpoint
