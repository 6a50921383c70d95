#include "titan/checkpoint/convert.h"

#include <c10/util/Exception.h>

#include <map>
#include <string>

#include "titan/checkpoint/durable_file.h"
#include "titan/checkpoint/manifest.h"
#include "titan/checkpoint/safetensors_writer.h"
#include "titan/checkpoint/shard_writer.h"
#include "titan/checkpoint/torch_record_writer.h"
#include "titan/checkpoint/torchtitan_keys.h"

namespace titan::checkpoint {
namespace {

c10::ScalarType stored_dtype(c10::ScalarType dtype, std::optional<c10::ScalarType> wanted) {
  return wanted && c10::isFloatingType(dtype) ? *wanted : dtype;
}

}  // namespace

std::vector<WrittenFile> convert_to_hugging_face(const TensorReader& from, const ForeignFormat& format,
                                                 const std::filesystem::path& to,
                                                 std::optional<c10::ScalarType> dtype) {
  std::map<std::string, TensorInfo> infos;
  std::map<std::string, std::string> fqns;
  c10::ScalarType dtype_of_model = c10::kFloat;
  for (const auto& [fqn, info] : from.tensors()) {
    if (is_beside_model(fqn)) continue;
    const auto name = format.to_name(fqn);
    if (!name) continue;  // tied: stored under its other name
    dtype_of_model = stored_dtype(info.dtype, dtype);
    infos.emplace(*name, TensorInfo{dtype_of_model, info.shape});
    fqns.emplace(*name, fqn);
  }
  auto files = write_safetensors_folder(to, infos, [&](const std::string& name) {
    const auto& fqn = fqns.at(name);
    return format.to_foreign(fqn, from.read(fqn).to(infos.at(name).dtype));
  });
  files.push_back(write_durable_file(to / "config.json", format.config_json(dtype_of_model)));
  return files;
}

void convert_from_hugging_face(const TensorReader& from, const ForeignFormat& format, const std::filesystem::path& to,
                               std::optional<c10::ScalarType> dtype) {
  // 1. What each tensor is called here. A large one becomes several chunks, each of which reads it anew.
  std::vector<ShardItem> items;
  for (const auto& [name, info] : from.tensors()) {
    const auto fqn = format.to_fqn(name);
    if (!fqn) continue;  // tied, or a buffer
    const TensorInfo stored{stored_dtype(info.dtype, dtype), info.shape};
    const auto max_elements = static_cast<int64_t>(kMaxRecordBytes / c10::elementSize(stored.dtype));
    for (const Box& box : split(whole_of(info.shape), max_elements)) {
      items.push_back({.name = *fqn, .info = stored, .box = box, .data = [&from, &format, name = name, fqn, box] {
                         return view_of(format.from_foreign(*fqn, from.read(name)), box);
                       }});
    }
  }

  // 2. Beside `to`, and moved there.
  TORCH_CHECK_VALUE(!std::filesystem::exists(to), to.string(), ": is there already; remove it, or choose another name");
  const auto parent = std::filesystem::absolute(to).parent_path();
  std::filesystem::create_directories(parent);
  const auto saving = parent / (".saving-" + to.filename().string());
  std::filesystem::remove_all(saving);
  std::filesystem::create_directory(saving);
  WrittenShard shard = write_shard(saving, 0, items, {}, /*num_threads=*/1);
  shard.files.push_back(write_durable_file(saving / ".metadata", to_pickle(shard.metadata)));
  write_manifest(saving, {.step = 0, .contents = "model", .files = std::move(shard.files)});
  flush_folder(saving);
  std::filesystem::rename(saving, to);
  flush_folder(parent);
}

}  // namespace titan::checkpoint
