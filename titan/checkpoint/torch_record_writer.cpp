#include "titan/checkpoint/torch_record_writer.h"

#include <ATen/core/Tensor.h>
#include <c10/util/Exception.h>

#include <string_view>
#include <vector>

#include "titan/checkpoint/crc32.h"
#include "titan/checkpoint/dtype_names.h"
#include "titan/pickle/pickle_writer.h"

namespace titan::checkpoint {
namespace {

using pickle::PickleWriter;

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDataDescriptor = 0x08074b50;
constexpr uint32_t kDirectoryEntry = 0x02014b50;
constexpr uint32_t kDirectoryEnd = 0x06054b50;
constexpr uint16_t kFlags = 0x0808;  // names in UTF-8; checksum and sizes follow the payload
constexpr uint64_t kAlignment = 64;
constexpr uint64_t kHeaderBytes = 30;

template <class T>
void append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value),
               sizeof(T));  // zips are little-endian, as are this project's machines
}

uint32_t crc32_of_text(std::string_view text) { return crc32_of(std::as_bytes(std::span(text))); }

// Writes stored records one after another. `bytes` is what is not taken yet; positions count from the archive's start.
struct ZipWriter {
  std::string bytes, directory;
  uint64_t position = 0;  // of the start of `bytes`
  uint16_t num_entries = 0;

  uint64_t at() const { return position + bytes.size(); }

  // Pads so that the payload is aligned. Returns where the header is.
  uint64_t begin(std::string_view name) {
    const uint64_t header = at();
    const uint64_t unpadded = header + kHeaderBytes + name.size() + 4;
    const auto padding = static_cast<uint16_t>((kAlignment - unpadded % kAlignment) % kAlignment);
    append(bytes, kLocalHeader);
    append<uint16_t>(bytes, 0);  // version
    append(bytes, kFlags);
    append<uint16_t>(bytes, 0);  // stored
    append<uint32_t>(bytes, 0);  // no time
    append<uint32_t>(bytes, 0);  // checksum, sizes: later
    append<uint32_t>(bytes, 0);
    append<uint32_t>(bytes, 0);
    append(bytes, static_cast<uint16_t>(name.size()));
    append(bytes, static_cast<uint16_t>(padding + 4));
    bytes += name;
    bytes += "FB";  // torch's mark of padding
    append(bytes, padding);
    bytes.append(padding, 'Z');
    return header;
  }

  void end(std::string_view name, uint64_t header, uint32_t crc32, uint64_t size) {
    append(bytes, kDataDescriptor);
    append(bytes, crc32);
    append(bytes, static_cast<uint32_t>(size));
    append(bytes, static_cast<uint32_t>(size));

    append(directory, kDirectoryEntry);
    append<uint32_t>(directory, 0);  // versions
    append(directory, kFlags);
    append<uint16_t>(directory, 0);  // stored
    append<uint32_t>(directory, 0);  // no time
    append(directory, crc32);
    append(directory, static_cast<uint32_t>(size));
    append(directory, static_cast<uint32_t>(size));
    append(directory, static_cast<uint16_t>(name.size()));
    directory.append(12, '\0');  // extra, comment, disk, attributes
    append(directory, static_cast<uint32_t>(header));
    directory += name;
    ++num_entries;
  }

  void add(std::string_view name, std::string_view payload) {
    const uint64_t header = begin(name);
    bytes += payload;
    end(name, header, crc32_of_text(payload), payload.size());
  }

  void finish() {
    const uint64_t directory_at = at();
    bytes += directory;
    append(bytes, kDirectoryEnd);
    append<uint32_t>(bytes, 0);  // disks
    append(bytes, num_entries);
    append(bytes, num_entries);
    append(bytes, static_cast<uint32_t>(directory.size()));
    append(bytes, static_cast<uint32_t>(directory_at));
    append<uint16_t>(bytes, 0);  // comment
  }
};

constexpr std::string_view kPayload = "archive/data/0";

void add_preamble(ZipWriter& zip, std::string_view pickle) {
  zip.add("archive/data.pkl", pickle);
  zip.add("archive/.format_version", "1");
  zip.add("archive/.storage_alignment", std::to_string(kAlignment));
  zip.add("archive/byteorder", "little");
}

void finish(ZipWriter& zip) {
  zip.add("archive/version", "3\n");
  zip.finish();
}

void write_plain(PickleWriter& pickle, const PlainValue& value) {
  const auto write = [&](const auto& plain) {
    using T = std::decay_t<decltype(plain)>;
    if constexpr (std::is_same_v<T, bool>) {
      pickle.boolean(plain);
    } else if constexpr (std::is_same_v<T, int64_t>) {
      pickle.integer(plain);
    } else if constexpr (std::is_same_v<T, double>) {
      pickle.real(plain);
    } else {
      constexpr bool is_list = std::is_same_v<T, FloatList>;
      if (is_list) pickle.empty_list();
      pickle.mark();
      for (const double item : plain.values) pickle.real(item);
      is_list ? pickle.append_from_mark() : pickle.tuple_from_mark();
    }
  };
  std::visit(write, value);
}

void write_integers(PickleWriter& pickle, at::IntArrayRef values) {
  pickle.mark();
  for (const int64_t value : values) pickle.integer(value);
  pickle.tuple_from_mark();
}

// How torch rebuilds the tensor: _rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks); _v3 has the
// dtype besides, for dtypes without a typed storage.
std::string pickle_of_tensor(c10::ScalarType dtype, at::IntArrayRef sizes, int64_t num_elements) {
  const auto storage = storage_name(dtype);
  TORCH_CHECK_VALUE(dtype_of_torch(torch_name(dtype)), "a PyTorch checkpoint cannot hold dtype ", torch_name(dtype),
                    "; convert the tensor first");
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  for (size_t dim = sizes.size(); dim-- > 0;) {
    strides[dim] = stride;
    stride *= std::max<int64_t>(sizes[dim], 1);
  }

  PickleWriter pickle(2);
  pickle.global("torch._utils", storage ? "_rebuild_tensor_v2" : "_rebuild_tensor_v3");
  pickle.mark();
  pickle.mark();
  pickle.string("storage");
  storage ? pickle.global("torch", *storage) : pickle.global("torch.storage", "UntypedStorage");
  pickle.string("0");
  pickle.string("cpu");
  pickle.integer(storage ? num_elements : num_elements * static_cast<int64_t>(c10::elementSize(dtype)));
  pickle.tuple_from_mark();
  pickle.persistent_id();
  pickle.integer(0);
  write_integers(pickle, sizes);
  write_integers(pickle, strides);
  pickle.boolean(false);
  pickle.global("collections", "OrderedDict");
  pickle.empty_tuple();
  pickle.reduce();
  if (!storage) pickle.global("torch", torch_name(dtype));
  pickle.tuple_from_mark();
  pickle.reduce();
  return pickle.finish();
}

}  // namespace

TorchRecord::TorchRecord(c10::ScalarType dtype, at::IntArrayRef sizes) {
  int64_t num_elements = 1;
  for (const int64_t size : sizes) num_elements *= size;
  payload_bytes_ = static_cast<uint64_t>(num_elements) * c10::elementSize(dtype);
  TORCH_INTERNAL_ASSERT(payload_bytes_ <= kMaxRecordBytes);
  ZipWriter zip;
  add_preamble(zip, pickle_of_tensor(dtype, sizes, num_elements));
  payload_header_ = zip.begin(kPayload);
  head_ = std::move(zip.bytes);
  directory_ = std::move(zip.directory);
  num_entries_ = zip.num_entries;
}

std::string TorchRecord::tail(uint32_t payload_crc32) const {
  ZipWriter zip{
      .bytes = {}, .directory = directory_, .position = head_.size() + payload_bytes_, .num_entries = num_entries_};
  zip.end(kPayload, payload_header_, payload_crc32, payload_bytes_);
  finish(zip);
  return std::move(zip.bytes);
}

std::string record_of(const PlainValue& value) {
  PickleWriter pickle(2);
  write_plain(pickle, value);
  ZipWriter zip;
  add_preamble(zip, pickle.finish());
  finish(zip);
  return std::move(zip.bytes);
}

}  // namespace titan::checkpoint
