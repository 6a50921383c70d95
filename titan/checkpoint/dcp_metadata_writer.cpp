#include <string_view>

#include "titan/checkpoint/dcp_metadata.h"
#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/torchtitan_keys.h"
#include "titan/pickle/pickle_writer.h"

namespace titan::checkpoint {
namespace {

using pickle::PickleWriter;

constexpr std::string_view kMetadataModule = "torch.distributed.checkpoint.metadata";
constexpr std::string_view kVersion = "1.0.0";

class MetadataWriter {
 public:
  std::string write(const DcpMetadata& metadata) {
    begin_object(kMetadataModule, "Metadata");

    key("state_dict_metadata");
    begin_dict();
    for (const auto& [name, tensor] : metadata.tensors) {
      key(name);
      write_tensor(tensor);
    }
    for (const auto& [name, place] : metadata.objects) {
      key(name);
      new_object(kMetadataModule, "BytesStorageMetadata");
    }
    end_dict();

    key("planner_data");
    begin_dict();
    for (const auto& [name, tensor] : metadata.tensors) write_path(name);
    for (const auto& [name, place] : metadata.objects) write_path(name);
    end_dict();

    key("storage_data");
    begin_dict();
    for (const auto& [name, tensor] : metadata.tensors) {
      for (size_t i = 0; i < tensor.chunks.size(); ++i) {
        write_index(name, &tensor.chunks[i].box, i);
        write_place(tensor.chunks[i].place);
      }
    }
    for (const auto& [name, place] : metadata.objects) {
      write_index(name, nullptr, 0);
      write_place(place);
    }
    end_dict();

    key("storage_meta");
    begin_object(kMetadataModule, "StorageMeta");
    for (const char* name : {"checkpoint_id", "save_id", "load_id"}) {
      key(name);
      pickle_.none();
    }
    key("modules");
    pickle_.empty_list();
    end_object();

    key("version");
    pickle_.string(kVersion);
    end_object();
    return pickle_.finish();
  }

 private:
  void write_tensor(const DcpTensor& tensor) {
    begin_object(kMetadataModule, "TensorStorageMetadata");

    key("properties");  // its state is a tuple: dtype, layout, requires_grad, memory format, pin_memory
    new_object(kMetadataModule, "TensorProperties");
    pickle_.mark();
    pickle_.global("torch", torch_name(tensor.info.dtype));
    pickle_.global("torch.serialization", "_get_layout");
    pickle_.string("torch.strided");
    pickle_.tuple_of_one();
    pickle_.reduce();
    pickle_.boolean(false);
    pickle_.global(kMetadataModule, "_MEM_FORMAT_ENCODING");
    pickle_.integer(0);  // contiguous
    pickle_.tuple_of_one();
    pickle_.reduce();
    pickle_.boolean(false);
    pickle_.tuple_from_mark();
    pickle_.build();

    key("size");
    write_size(tensor.info.shape);

    key("chunks");
    pickle_.empty_list();
    pickle_.mark();
    for (const DcpChunk& chunk : tensor.chunks) {
      begin_object(kMetadataModule, "ChunkStorageMetadata");
      key("offsets");
      write_size(chunk.box.offsets);
      key("sizes");
      write_size(chunk.box.sizes);
      end_object();
    }
    pickle_.append_from_mark();
    end_object();
  }

  // Where Python puts the item when it builds the nested state anew.
  void write_path(const std::string& name) {
    key(name);
    pickle_.mark();
    const std::string_view section = section_beside_model(name);
    if (!section.empty()) pickle_.string(section);
    pickle_.string(section.empty() ? name : name.substr(section.size() + 1));
    pickle_.tuple_from_mark();
  }

  void write_index(const std::string& name, const Box* box, size_t chunk_index) {
    begin_object(kMetadataModule, "MetadataIndex");
    key("fqn");
    pickle_.string(name);
    key("offset");
    box ? write_size(box->offsets) : pickle_.none();
    key("index");
    box ? pickle_.integer(static_cast<int64_t>(chunk_index)) : pickle_.none();
    end_object();
  }

  void write_place(const DcpPlace& place) {
    begin_object("torch.distributed.checkpoint.filesystem", "_StorageInfo");
    key("relative_path");
    pickle_.string(place.file);
    key("offset");
    pickle_.integer(static_cast<int64_t>(place.offset));
    key("length");
    pickle_.integer(static_cast<int64_t>(place.length));
    end_object();
  }

  void write_size(const std::vector<int64_t>& sizes) {
    pickle_.global("torch", "Size");
    pickle_.mark();
    for (const int64_t size : sizes) pickle_.integer(size);
    pickle_.tuple_from_mark();
    pickle_.tuple_of_one();
    pickle_.reduce();
  }

  void key(std::string_view name) { pickle_.string(name); }
  void begin_dict() {
    pickle_.empty_dict();
    pickle_.mark();
  }
  void end_dict() { pickle_.set_items_from_mark(); }
  void new_object(std::string_view module, std::string_view name) {
    pickle_.global(module, name);
    pickle_.empty_tuple();
    pickle_.new_object();
  }
  void begin_object(std::string_view module, std::string_view name) {
    new_object(module, name);
    begin_dict();
  }
  void end_object() {
    end_dict();
    pickle_.build();
  }

  PickleWriter pickle_{4};
};

}  // namespace

std::string to_pickle(const DcpMetadata& metadata) { return MetadataWriter().write(metadata); }

}  // namespace titan::checkpoint
