#include "titan/checkpoint/torch_record.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <optional>
#include <string_view>
#include <vector>

#include "titan/checkpoint/crc32.h"
#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/zip_archive.h"
#include "titan/pickle/pickle.h"

namespace titan::checkpoint {
namespace {

using pickle::Pickle;
using pickle::PickleValue;

constexpr std::string_view kRebuildTensor = "torch._utils _rebuild_tensor_v2";
constexpr std::string_view kRebuildTensorOfDtype = "torch._utils _rebuild_tensor_v3";  // dtypes without a typed storage
constexpr std::string_view kRebuildParameter = "torch._utils _rebuild_parameter";
constexpr std::string_view kUntypedStorage = "torch.storage UntypedStorage";
constexpr std::string_view kNoHooks = "collections OrderedDict";
constexpr std::string_view kTorch = "torch ";

// "float32" for "torch float32"; empty for a global of another module.
std::string_view name_in_torch(std::string_view global) {
  return global.starts_with(kTorch) ? global.substr(kTorch.size()) : std::string_view();
}

bool is_written_by_torch_save(std::string_view global) {
  for (const auto known : {kRebuildTensor, kRebuildTensorOfDtype, kRebuildParameter, kUntypedStorage, kNoHooks}) {
    if (global == known) return true;
  }
  const auto name = name_in_torch(global);
  return dtype_of_torch(name) || dtype_of_storage(name);
}

// Protocol 2 has no opcode for bytes: they are pickled as a call that encodes a str.
bool is_plain(std::string_view global) { return global == kNoHooks || global == "_codecs encode"; }

// A tensor's geometry and where its storage is, as far as the pickle says.
struct Rebuild {
  c10::ScalarType dtype;
  std::string record;  // "data/0"
  uint64_t storage_offset;
  std::vector<int64_t> sizes, strides;
};

std::vector<int64_t> non_negative_integers(const Pickle& pickle, const PickleValue& value) {
  std::vector<int64_t> integers;
  for (const PickleValue* item : pickle.sequence(value)) {
    integers.push_back(pickle.integer(*item));
    if (integers.back() < 0) pickle.fail(*item, fmt::format("expected at least 0, got {}", integers.back()));
  }
  return integers;
}

Rebuild read_rebuild(const Pickle& pickle) {
  const PickleValue* root = &pickle.root();
  if (root->kind == PickleValue::Kind::kCall && root->text == kRebuildParameter && !root->items.empty()) {
    root = root->items[0];
  }
  // (storage, offset, sizes, strides, requires_grad, hooks[, dtype][, metadata])
  const bool with_dtype = root->kind == PickleValue::Kind::kCall && root->text == kRebuildTensorOfDtype;
  const auto& arguments = pickle.call(*root, with_dtype ? kRebuildTensorOfDtype : kRebuildTensor);
  const size_t num_arguments = with_dtype ? 7 : 6;
  if (arguments.size() < num_arguments) pickle.fail(*root, "expected more arguments to rebuild a tensor");
  for (size_t i = num_arguments; i < arguments.size(); ++i) {
    const PickleValue& metadata = *arguments[i];
    if (metadata.kind != PickleValue::Kind::kNone && !pickle.dict(metadata).empty()) {
      pickle.fail(metadata, "conjugated and negated views are not read; save the tensor after resolve_conj()");
    }
  }

  // ("storage", class, key, location, number of elements)
  if (arguments[0]->kind != PickleValue::Kind::kPersistentId) pickle.fail(*arguments[0], "expected a storage");
  const auto& storage = pickle.sequence(*arguments[0]->items[0]);
  if (storage.size() != 5 || storage[1]->kind != PickleValue::Kind::kGlobal) {
    pickle.fail(*arguments[0], "expected a storage's class, key, location and size");
  }
  const PickleValue& dtype_name = with_dtype ? *arguments[6] : *storage[1];
  const auto dtype =
      with_dtype ? dtype_of_torch(name_in_torch(dtype_name.text)) : dtype_of_storage(name_in_torch(dtype_name.text));
  if (!dtype) pickle.fail(dtype_name, fmt::format("expected a dtype, got '{}'", dtype_name.text));

  Rebuild rebuild{.dtype = *dtype,
                  .record = "data/" + pickle.string(*storage[2]),
                  .storage_offset = 0,
                  .sizes = non_negative_integers(pickle, *arguments[2]),
                  .strides = non_negative_integers(pickle, *arguments[3])};
  const int64_t storage_offset = pickle.integer(*arguments[1]);
  if (storage_offset < 0) pickle.fail(*arguments[1], "expected a storage offset of at least 0");
  rebuild.storage_offset = static_cast<uint64_t>(storage_offset);
  if (rebuild.sizes.size() != rebuild.strides.size()) pickle.fail(*arguments[3], "expected a stride for each dim");
  return rebuild;
}

// Bytes from the storage's begin to the end of the tensor's last element; nullopt if they do not fit 64 bits.
std::optional<uint64_t> bytes_needed(const Rebuild& rebuild) {
  uint64_t end = rebuild.storage_offset;
  bool overflow = false;
  for (size_t dim = 0; dim < rebuild.sizes.size(); ++dim) {
    if (rebuild.sizes[dim] == 0) return 0;
    uint64_t reach = 0;
    overflow |= __builtin_mul_overflow(static_cast<uint64_t>(rebuild.sizes[dim] - 1),
                                       static_cast<uint64_t>(rebuild.strides[dim]), &reach);
    overflow |= __builtin_add_overflow(end, reach, &end);
  }
  overflow |= __builtin_add_overflow(end, uint64_t{1}, &end);
  overflow |= __builtin_mul_overflow(end, static_cast<uint64_t>(c10::elementSize(rebuild.dtype)), &end);
  return overflow ? std::nullopt : std::optional(end);
}

std::string name_of(const MappedFile& file, const std::string& what) {
  return fmt::format("{}: {}", file.path().string(), what);
}

ZipArchive open_archive(const MappedFile& file, uint64_t offset, uint64_t length, const std::string& name) {
  const auto bytes = file.bytes();
  TORCH_CHECK_VALUE(offset <= bytes.size() && length <= bytes.size() - offset, name, ": expected ", length,
                    " bytes at byte ", offset, ", got a file of ", bytes.size(), "; truncated?");
  ZipArchive archive(bytes.subspan(offset, length), name, offset);
  if (archive.contains("byteorder")) {
    const auto order = archive.payload("byteorder");
    const std::string_view text(reinterpret_cast<const char*>(order.data()), order.size());
    TORCH_CHECK_VALUE(text == "little", name, ": byte ", offset, ": expected little-endian data, got '", text, "'");
  }
  return archive;
}

}  // namespace

StoredTensor find_torch_record(const MappedFile& file, uint64_t offset, uint64_t length, const std::string& what) {
  const std::string name = name_of(file, what);
  const ZipArchive archive = open_archive(file, offset, length, name);
  const Pickle pickle(archive.payload("data.pkl"), name, offset + archive.record("data.pkl").offset,
                      is_written_by_torch_save);
  Rebuild rebuild = read_rebuild(pickle);
  const ZipArchive::Record& storage = archive.record(rebuild.record);
  const auto needed = bytes_needed(rebuild);
  TORCH_CHECK_VALUE(needed && *needed <= storage.size, name, ": byte ", offset + storage.offset,
                    ": a tensor of shape [", fmt::format("{}", fmt::join(rebuild.sizes, ", ")),
                    "] does not fit its storage of ", storage.size, " bytes");
  const uint64_t first = *needed == 0 ? 0 : rebuild.storage_offset * c10::elementSize(rebuild.dtype);
  return {.dtype = rebuild.dtype,
          .sizes = std::move(rebuild.sizes),
          .strides = std::move(rebuild.strides),
          .data_at = offset + storage.offset + first,
          .storage_at = offset + storage.offset,
          .storage_bytes = storage.size,
          .storage_crc32 = storage.crc32};
}

at::Tensor read_torch_record(const std::shared_ptr<const MappedFile>& file, uint64_t offset, uint64_t length,
                             const std::string& what) {
  const StoredTensor stored = find_torch_record(*file, offset, length, what);
  TORCH_CHECK_VALUE(crc32_of(file->bytes().subspan(stored.storage_at, stored.storage_bytes)) == stored.storage_crc32,
                    name_of(*file, what), ": byte ", stored.storage_at, ": is damaged: its ", stored.storage_bytes,
                    " bytes do not have the checksum that was stored with them");
  return file->tensor(stored.data_at, stored.sizes, stored.strides, stored.dtype);
}

std::unique_ptr<const Pickle> read_plain_record(const MappedFile& file, uint64_t offset, uint64_t length,
                                                const std::string& what) {
  const std::string name = name_of(file, what);
  const ZipArchive archive = open_archive(file, offset, length, name);
  return std::make_unique<const Pickle>(archive.payload("data.pkl"), name, offset + archive.record("data.pkl").offset,
                                        is_plain);
}

}  // namespace titan::checkpoint
