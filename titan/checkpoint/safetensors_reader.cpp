#include "titan/checkpoint/safetensors_reader.h"

#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "titan/checkpoint/dtype_names.h"

namespace titan::checkpoint {
namespace {

using nlohmann::json;

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the format's limit
constexpr std::string_view kMetadataKey = "__metadata__";

// An iterator over text that tells how far the JSON parser has come: the parser itself tells it only in its errors.
class CountingIterator {
 public:
  using difference_type = std::ptrdiff_t;
  using value_type = char;
  using pointer = const char*;
  using reference = const char&;
  using iterator_category = std::input_iterator_tag;

  CountingIterator(const char* at, const char** furthest) : at_(at), furthest_(furthest) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    *furthest_ = at_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  const char** furthest_;
};

// JSON text inside a file. Throws c10::ValueError naming `file` and the byte for malformed text and for a key that
// stands twice in one object, which the parser alone would let pass.
struct Parsed {
  json value;
  std::map<std::string, uint64_t> key_ends;  // of the outermost object: the byte in the file after each key
};

Parsed parse_object(std::string_view text, uint64_t file_offset, const std::string& file) {
  Parsed parsed;
  const char* furthest = text.data();
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int /*depth*/, json::parse_event_t event, json& value) {
    if (event == json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == json::parse_event_t::object_end) open_objects.pop_back();
    if (event == json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      const uint64_t end = file_offset + static_cast<uint64_t>(furthest - text.data());
      TORCH_CHECK_VALUE(open_objects.back().insert(key).second, file, ": byte ", end, ": the key '", key,
                        "' stands twice");
      if (open_objects.size() == 1) parsed.key_ends.emplace(key, end);
    }
    return true;
  };
  try {
    parsed.value = json::parse(CountingIterator(text.data(), &furthest),
                               CountingIterator(text.data() + text.size(), &furthest), watch);
  } catch (const json::parse_error& error) {
    TORCH_CHECK_VALUE(false, file, ": byte ", file_offset + error.byte, ": malformed JSON (", error.what(), ")");
  } catch (const json::exception& error) {
    TORCH_CHECK_VALUE(false, file, ": byte ", file_offset, ": malformed JSON (", error.what(), ")");
  }
  TORCH_CHECK_VALUE(parsed.value.is_object(), file, ": byte ", file_offset, ": expected a JSON object");
  return parsed;
}

struct Entry {
  std::string name;
  TensorInfo info;
  uint64_t begin, end;  // within the data
  uint64_t header_at;   // the byte in the file where the header names it
};

// "dtype", "shape" and "data_offsets" of one tensor, and nothing else.
Entry read_entry(const std::string& name, const json& fields, uint64_t header_at, const std::string& file) {
  const auto check = [&](bool condition, std::string_view message) {
    TORCH_CHECK_VALUE(condition, file, ": tensor '", name, "': byte ", header_at, ": ", message);
  };
  check(fields.is_object() && fields.size() == 3 && fields.contains("dtype") && fields.contains("shape") &&
            fields.contains("data_offsets"),
        "expected an object of dtype, shape and data_offsets");

  const json& dtype_name = fields["dtype"];
  check(dtype_name.is_string(), "expected dtype to be a string");
  const auto dtype = dtype_of_safetensors(dtype_name.get_ref<const std::string&>());
  if (!dtype) check(false, fmt::format("the dtype '{}' is not known here", dtype_name.get<std::string>()));

  const json& shape = fields["shape"];
  check(shape.is_array(), "expected shape to be a list");
  std::vector<int64_t> dims;
  uint64_t num_bytes = c10::elementSize(*dtype);
  bool empty = false;
  for (const json& dim : shape) {
    check(dim.is_number_unsigned() && dim.get<uint64_t>() <= INT64_MAX, "expected non-negative integers in shape");
    dims.push_back(dim.get<int64_t>());
    empty |= dims.back() == 0;
    // Sizes of 0 do not hide an overflow: the strides would have it.
    const bool overflow = __builtin_mul_overflow(num_bytes, std::max<uint64_t>(dim.get<uint64_t>(), 1), &num_bytes) ||
                          num_bytes > INT64_MAX;
    check(!overflow, "the shape's size in bytes does not fit 64 bits");
  }
  if (empty) num_bytes = 0;

  const json& offsets = fields["data_offsets"];
  check(offsets.is_array() && offsets.size() == 2 && offsets[0].is_number_unsigned() && offsets[1].is_number_unsigned(),
        "expected data_offsets to be [begin, end]");
  const auto begin = offsets[0].get<uint64_t>();
  const auto end = offsets[1].get<uint64_t>();
  if (begin > end || end - begin != num_bytes) {
    check(false, fmt::format("{} of shape [{}] takes {} bytes, but data_offsets are [{}, {}]",
                             dtype_name.get<std::string>(), fmt::join(dims, ", "), num_bytes, begin, end));
  }
  return {.name = name, .info = {*dtype, std::move(dims)}, .begin = begin, .end = end, .header_at = header_at};
}

std::string read_text(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  TORCH_CHECK_VALUE(in.good(), path.string(), ": cannot be read: ", std::strerror(errno));
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

SafetensorsReader::SafetensorsReader(const std::filesystem::path& path) {
  const auto index = path / "model.safetensors.index.json";
  if (!std::filesystem::is_directory(path)) {
    add_file(path);
  } else if (std::filesystem::exists(index)) {
    add_index(index);
  } else {
    add_file(path / "model.safetensors");
  }
}

at::Tensor SafetensorsReader::read(const std::string& name) const {
  const auto place = places_.find(name);
  TORCH_CHECK_VALUE(place != places_.end(), "safetensors: there is no tensor '", name, "' in ",
                    places_.empty() ? "the file" : places_.begin()->second.file->path().string());
  const TensorInfo& info = infos_.at(name);
  std::vector<int64_t> strides(info.shape.size());
  int64_t stride = 1;
  for (size_t dim = strides.size(); dim-- > 0;) {
    strides[dim] = stride;
    stride *= std::max<int64_t>(info.shape[dim], 1);
  }
  return place->second.file->tensor(place->second.offset, info.shape, strides, info.dtype);
}

void SafetensorsReader::add_file(const std::filesystem::path& path) {
  const auto file = MappedFile::open(path);
  const std::string name = path.string();
  const auto bytes = file->bytes();
  TORCH_CHECK_VALUE(bytes.size() >= kLengthBytes, name, ": byte ", bytes.size(),
                    ": expected 8 bytes of header length, got the end of the file");
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);  // little-endian, as are this project's machines
  TORCH_CHECK_VALUE(header_bytes <= kMaxHeaderBytes, name, ": byte 0: a header of ", header_bytes,
                    " bytes is over the format's limit of ", kMaxHeaderBytes, "; is this a safetensors file?");
  TORCH_CHECK_VALUE(header_bytes <= bytes.size() - kLengthBytes, name, ": byte 0: a header of ", header_bytes,
                    " bytes does not fit the file of ", bytes.size(), "; truncated?");
  const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, header_bytes);
  TORCH_CHECK_VALUE(header.starts_with('{'), name, ": byte 8: expected the header's JSON object to start with '{'");
  const Parsed parsed = parse_object(header, kLengthBytes, name);

  std::vector<Entry> entries;
  for (const auto& [key, value] : parsed.value.items()) {
    const uint64_t header_at = parsed.key_ends.at(key);
    if (key != kMetadataKey) {
      entries.push_back(read_entry(key, value, header_at, name));
      continue;
    }
    TORCH_CHECK_VALUE(value.is_object(), name, ": byte ", header_at, ": expected __metadata__ to be an object");
    for (const auto& [meta_key, text] : value.items()) {
      TORCH_CHECK_VALUE(text.is_string(), name, ": byte ", header_at, ": expected text for '", meta_key,
                        "' in __metadata__");
      metadata_.emplace(meta_key, text.get<std::string>());
    }
  }

  // In the order of the data, empty tensors first where they share a begin.
  std::sort(entries.begin(), entries.end(),
            [](const Entry& a, const Entry& b) { return std::pair(a.begin, a.end) < std::pair(b.begin, b.end); });
  const uint64_t data_at = kLengthBytes + header_bytes;
  const uint64_t data_bytes = bytes.size() - data_at;
  uint64_t filled = 0;
  for (Entry& entry : entries) {
    const auto where = [&] { return fmt::format("{}: tensor '{}': byte {}", name, entry.name, entry.header_at); };
    TORCH_CHECK_VALUE(entry.begin >= filled, where(), ": data_offsets [", entry.begin, ", ", entry.end,
                      "] overlap those of another tensor, which end at ", filled);
    TORCH_CHECK_VALUE(entry.begin == filled, where(), ": data_offsets [", entry.begin, ", ", entry.end,
                      "] leave a hole after ", filled);
    TORCH_CHECK_VALUE(entry.end <= data_bytes, where(), ": data_offsets [", entry.begin, ", ", entry.end,
                      "] reach beyond the file's ", data_bytes, " bytes of data; truncated?");
    filled = entry.end;
    TORCH_CHECK_VALUE(infos_.emplace(entry.name, std::move(entry.info)).second, where(),
                      ": the tensor also stands in another file");
    places_.emplace(entry.name, Place{.file = file, .offset = data_at + entry.begin});
  }
  TORCH_CHECK_VALUE(filled == data_bytes, name, ": byte ", data_at + filled, ": ", data_bytes - filled,
                    " bytes after the last tensor belong to none");
}

void SafetensorsReader::add_index(const std::filesystem::path& index) {
  const std::string name = index.string();
  const std::string text = read_text(index);
  const Parsed parsed = parse_object(text, 0, name);
  const auto map = parsed.value.find("weight_map");
  TORCH_CHECK_VALUE(map != parsed.value.end() && map->is_object(), name, ": byte 0: expected an object 'weight_map'");
  const uint64_t map_at = parsed.key_ends.at("weight_map");

  std::set<std::string> files;
  for (const auto& [tensor, file] : map->items()) {
    TORCH_CHECK_VALUE(file.is_string(), name, ": tensor '", tensor, "': byte ", map_at, ": expected a file name");
    const auto& file_name = file.get_ref<const std::string&>();
    const bool inside = std::filesystem::path(file_name).filename() == file_name && file_name != "..";
    TORCH_CHECK_VALUE(inside, name, ": tensor '", tensor, "': byte ", map_at,
                      ": expected a file in the index's folder, got '", file_name, "'");
    files.insert(file_name);
  }
  for (const std::string& file : files) add_file(index.parent_path() / file);
  for (const auto& [tensor, file] : map->items()) {
    const auto place = places_.find(tensor);
    TORCH_CHECK_VALUE(place != places_.end(), name, ": tensor '", tensor, "': byte ", map_at, ": is not in '",
                      file.get<std::string>(), "'");
    TORCH_CHECK_VALUE(place->second.file->path().filename() == file.get<std::string>(), name, ": tensor '", tensor,
                      "': byte ", map_at, ": expected in '", file.get<std::string>(), "', is in '",
                      place->second.file->path().filename().string(), "'");
  }
}

}  // namespace titan::checkpoint
