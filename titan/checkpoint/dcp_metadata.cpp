#include "titan/checkpoint/dcp_metadata.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/mapped_file.h"
#include "titan/pickle/pickle.h"

namespace titan::checkpoint {
namespace {

using pickle::Pickle;
using pickle::PickleValue;

constexpr std::string_view kMetadata = "torch.distributed.checkpoint.metadata Metadata";
constexpr std::string_view kTensor = "torch.distributed.checkpoint.metadata TensorStorageMetadata";
constexpr std::string_view kObject = "torch.distributed.checkpoint.metadata BytesStorageMetadata";
constexpr std::string_view kProperties = "torch.distributed.checkpoint.metadata TensorProperties";
constexpr std::string_view kChunk = "torch.distributed.checkpoint.metadata ChunkStorageMetadata";
constexpr std::string_view kIndex = "torch.distributed.checkpoint.metadata MetadataIndex";
constexpr std::string_view kPlace = "torch.distributed.checkpoint.filesystem _StorageInfo";
constexpr std::string_view kSize = "torch Size";
constexpr std::string_view kTorch = "torch ";

// Named beside these, without a use here: the deprecated layout and memory format, and where it was first saved.
constexpr std::string_view kUnused[] = {"torch.distributed.checkpoint.metadata _MEM_FORMAT_ENCODING",
                                        "torch.distributed.checkpoint.metadata StorageMeta",
                                        "torch.serialization _get_layout",
                                        "pathlib PosixPath",
                                        "pathlib WindowsPath",
                                        "pathlib._local PosixPath",
                                        "pathlib._local WindowsPath"};

bool is_written_by_dcp(std::string_view global) {
  for (const auto known : {kMetadata, kTensor, kObject, kProperties, kChunk, kIndex, kPlace, kSize}) {
    if (global == known) return true;
  }
  if (std::find(std::begin(kUnused), std::end(kUnused), global) != std::end(kUnused)) return true;
  return global.starts_with(kTorch) && dtype_of_torch(global.substr(kTorch.size()));
}

using Places = std::map<std::pair<std::string, std::vector<int64_t>>, DcpPlace>;  // by FQN and offsets of the chunk

class MetadataReader {
 public:
  explicit MetadataReader(const MappedFile& file)
      : pickle_(file.bytes(), file.path().string(), /*file_offset=*/0, is_written_by_dcp) {}

  DcpMetadata read() const {
    const PickleValue& root = pickle_.root();
    const Places places = read_places(required(root, kMetadata, "storage_data"));
    const auto& items = pickle_.dict(required(root, kMetadata, "state_dict_metadata"));
    DcpMetadata metadata;
    std::set<std::string> names;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const std::string& name = pickle_.string(*items[i]);
      if (!names.insert(name).second) pickle_.fail(*items[i], fmt::format("'{}' stands twice", name));
      const PickleValue& item = *items[i + 1];
      if (item.kind == PickleValue::Kind::kCall && item.text == kObject) {
        const auto place = places.find({name, {}});
        if (place == places.end()) pickle_.fail(item, fmt::format("no storage is given for the object '{}'", name));
        metadata.objects.emplace(name, place->second);
      } else {
        metadata.tensors.emplace(name, read_tensor(name, item, places));
      }
    }
    return metadata;
  }

 private:
  Places read_places(const PickleValue& storage_data) const {
    const auto& items = pickle_.dict(storage_data);
    Places places;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const PickleValue& index = *items[i];
      const PickleValue& info = *items[i + 1];
      const PickleValue* offset = pickle_.attribute(index, kIndex, "offset");
      auto offsets = offset && offset->kind != PickleValue::Kind::kNone ? size(*offset) : std::vector<int64_t>();
      const PickleValue* transforms = pickle_.attribute(info, kPlace, "transform_descriptors");
      if (transforms && transforms->kind != PickleValue::Kind::kNone && !pickle_.sequence(*transforms).empty()) {
        const auto& transform = pickle_.string(*pickle_.sequence(*transforms)[0]);
        pickle_.fail(*transforms, fmt::format("items transformed by '{}' are not read; save without it", transform));
      }
      DcpPlace place{.file = pickle_.string(required(info, kPlace, "relative_path")),
                     .offset = byte_count(required(info, kPlace, "offset")),
                     .length = byte_count(required(info, kPlace, "length"))};
      const std::filesystem::path path(place.file);
      const bool leaves = path.empty() || path.is_absolute() || std::find(path.begin(), path.end(), "..") != path.end();
      if (leaves)
        pickle_.fail(info, fmt::format("expected a file inside the checkpoint's folder, got '{}'", place.file));
      places.insert_or_assign({pickle_.string(required(index, kIndex, "fqn")), std::move(offsets)}, std::move(place));
    }
    return places;
  }

  DcpTensor read_tensor(const std::string& name, const PickleValue& item, const Places& places) const {
    DcpTensor tensor{.info = {dtype(required(item, kTensor, "properties")), size(required(item, kTensor, "size"))},
                     .chunks = {}};
    const auto& shape = tensor.info.shape;
    const auto num_elements = volume(shape);
    if (!num_elements) pickle_.fail(item, fmt::format("the size of '{}' does not fit 64 bits", name));

    for (const PickleValue* value : pickle_.sequence(required(item, kTensor, "chunks"))) {
      Box box{.offsets = size(required(*value, kChunk, "offsets")), .sizes = size(required(*value, kChunk, "sizes"))};
      bool inside = box.offsets.size() == shape.size() && box.sizes.size() == shape.size();
      for (size_t dim = 0; inside && dim < shape.size(); ++dim) {
        inside = box.offsets[dim] <= shape[dim] && box.sizes[dim] <= shape[dim] - box.offsets[dim];
      }
      if (!inside) pickle_.fail(*value, fmt::format("a chunk of '{}' does not lie inside the tensor", name));
      // Uneven sharding leaves ranks without rows; their chunks share an offset, so only one has a place.
      if (*volume(box.sizes) == 0) continue;
      const auto place = places.find({name, box.offsets});
      if (place == places.end()) {
        pickle_.fail(*value, fmt::format("no storage is given for the chunk of '{}' at [{}]", name,
                                         fmt::join(box.offsets, ", ")));
      }
      tensor.chunks.push_back({.box = std::move(box), .place = place->second});
    }
    check_tiling(name, item, *num_elements, tensor.chunks);
    return tensor;
  }

  // Boxes inside the tensor fill it exactly if they do not overlap and their volumes add up.
  void check_tiling(const std::string& name, const PickleValue& item, int64_t num_elements,
                    std::vector<DcpChunk>& chunks) const {
    uint64_t sum = 0;  // at most chunks x 2^63 in theory: stop as soon as it is too large
    for (const DcpChunk& chunk : chunks) {
      sum += static_cast<uint64_t>(*volume(chunk.box.sizes));
      if (sum > static_cast<uint64_t>(num_elements)) break;
    }
    if (sum != static_cast<uint64_t>(num_elements)) {
      pickle_.fail(item, fmt::format("the chunks of '{}' hold {} elements, the tensor {}", name, sum, num_elements));
    }
    if (chunks.size() < 2) return;

    // Sweep along the dim with the most distinct offsets, the one most likely sharded: few boxes are open at a time.
    size_t sweep_dim = 0, most_offsets = 0;
    for (size_t dim = 0; dim < chunks[0].box.offsets.size(); ++dim) {
      std::set<int64_t> distinct;
      for (const DcpChunk& chunk : chunks) distinct.insert(chunk.box.offsets[dim]);
      if (distinct.size() > most_offsets) std::tie(sweep_dim, most_offsets) = std::pair(dim, distinct.size());
    }
    std::sort(chunks.begin(), chunks.end(), [&](const DcpChunk& a, const DcpChunk& b) {
      return a.box.offsets[sweep_dim] < b.box.offsets[sweep_dim];
    });
    std::vector<const DcpChunk*> open;
    for (const DcpChunk& chunk : chunks) {
      std::erase_if(open, [&](const DcpChunk* earlier) {
        return earlier->box.offsets[sweep_dim] + earlier->box.sizes[sweep_dim] <= chunk.box.offsets[sweep_dim];
      });
      for (const DcpChunk* earlier : open) {
        if (intersection(earlier->box, chunk.box)) pickle_.fail(item, fmt::format("chunks of '{}' overlap", name));
      }
      open.push_back(&chunk);
    }
  }

  const PickleValue& required(const PickleValue& value, std::string_view global, std::string_view name) const {
    const PickleValue* attribute = pickle_.attribute(value, global, name);
    if (!attribute) pickle_.fail(value, fmt::format("'{}' lacks '{}'", global, name));
    return *attribute;
  }

  // torch.Size((2, 3)), or the plain tuple.
  std::vector<int64_t> size(const PickleValue& value) const {
    const PickleValue* tuple = &value;
    if (value.kind == PickleValue::Kind::kCall) {
      const auto& arguments = pickle_.call(value, kSize);
      if (arguments.size() != 1) pickle_.fail(value, "expected one argument of torch.Size");
      tuple = arguments[0];
    }
    std::vector<int64_t> dims;
    for (const PickleValue* item : pickle_.sequence(*tuple)) {
      dims.push_back(pickle_.integer(*item));
      if (dims.back() < 0) pickle_.fail(*item, fmt::format("expected at least 0, got {}", dims.back()));
    }
    return dims;
  }

  c10::ScalarType dtype(const PickleValue& properties) const {
    pickle_.call(properties, kProperties);
    if (!properties.state) pickle_.fail(properties, "expected a tensor's properties");
    const auto& state = pickle_.sequence(*properties.state);  // (dtype, layout, ...)
    if (state.empty() || state[0]->kind != PickleValue::Kind::kGlobal || !state[0]->text.starts_with(kTorch)) {
      pickle_.fail(properties, "expected a tensor's dtype");
    }
    const auto dtype = dtype_of_torch(std::string_view(state[0]->text).substr(kTorch.size()));
    if (!dtype) pickle_.fail(*state[0], fmt::format("expected a dtype, got '{}'", state[0]->text));
    return *dtype;
  }

  uint64_t byte_count(const PickleValue& value) const {
    const int64_t count = pickle_.integer(value);
    if (count < 0) pickle_.fail(value, fmt::format("expected at least 0 bytes, got {}", count));
    return static_cast<uint64_t>(count);
  }

  // Nullopt if the product of the non-zero sizes does not fit: strides would overflow even in an empty tensor.
  static std::optional<int64_t> volume(const std::vector<int64_t>& sizes) {
    int64_t product = 1;
    for (const int64_t size : sizes) {
      if (__builtin_mul_overflow(product, std::max<int64_t>(size, 1), &product)) return std::nullopt;
    }
    return std::find(sizes.begin(), sizes.end(), 0) == sizes.end() ? product : 0;
  }

  Pickle pickle_;
};

}  // namespace

DcpMetadata read_dcp_metadata(const std::filesystem::path& file) {
  return MetadataReader(*MappedFile::open(file)).read();
}

void merge(DcpMetadata& metadata, DcpMetadata other) {
  metadata.objects.merge(other.objects);
  for (auto& [name, tensor] : other.tensors) {
    const auto [place, inserted] = metadata.tensors.try_emplace(name, std::move(tensor));
    if (inserted) continue;
    TORCH_INTERNAL_ASSERT(place->second.info == tensor.info, "two parts disagree on ", name);
    auto& chunks = place->second.chunks;
    chunks.insert(chunks.end(), tensor.chunks.begin(), tensor.chunks.end());
  }
}

}  // namespace titan::checkpoint
