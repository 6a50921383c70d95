#include "titan/checkpoint/shard_writer.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "titan/checkpoint/crc32.h"
#include "titan/checkpoint/io_threads.h"
#include "titan/checkpoint/torch_record_writer.h"

namespace titan::checkpoint {
namespace {

constexpr int64_t kSlabBytes = 16 << 20;                // of what must be converted or fetched before it is written
constexpr uint64_t kMinFileBytes = uint64_t{16} << 20;  // below, another file costs more than it saves
constexpr uint64_t kAlignment = 64;

std::span<const std::byte> bytes_of(const at::Tensor& contiguous) {
  return {static_cast<const std::byte*>(contiguous.const_data_ptr()), contiguous.nbytes()};
}

// Writes the elements in row-major order and returns their CRC-32.
uint32_t write_elements(FileWriter& file, const at::Tensor& data, c10::ScalarType dtype) {
  if (data.device().is_cpu() && data.scalar_type() == dtype && data.is_contiguous()) return file.write(bytes_of(data));
  const auto fetch = [&](const at::Tensor& part) { return part.to(c10::kCPU, dtype).contiguous(); };
  if (data.dim() == 0 || data.numel() == 0) return file.write(bytes_of(fetch(data)));
  const int64_t row_bytes = data.numel() / data.size(0) * static_cast<int64_t>(c10::elementSize(dtype));
  const int64_t rows_at_once = std::max<int64_t>(1, kSlabBytes / std::max<int64_t>(row_bytes, 1));
  uint32_t crc32 = 0;
  for (int64_t row = 0; row < data.size(0); row += rows_at_once) {
    const auto slab = fetch(data.narrow(0, row, std::min(rows_at_once, data.size(0) - row)));
    crc32 = crc32_of_both(crc32, file.write(bytes_of(slab)), slab.nbytes());
  }
  return crc32;
}

class ShardFile {
 public:
  ShardFile(const std::filesystem::path& folder, std::string name) : name_(std::move(name)), file_(folder / name_) {}

  void write(const ShardItem& item) {
    const at::NoGradGuard no_grad;
    align();
    const uint64_t begin = file_.num_bytes();
    const TorchRecord record(item.info.dtype, item.box.sizes);
    file_.write(record.head());
    file_.write(record.tail(write_elements(file_, item.data(), item.info.dtype)));
    DcpTensor& tensor = shard_.metadata.tensors[item.name];
    tensor.info = item.info;
    tensor.chunks.push_back({.box = item.box, .place = place_from(begin)});
  }

  void write(const std::string& name, const PlainValue& object) {
    align();
    const uint64_t begin = file_.num_bytes();
    file_.write(record_of(object));
    shard_.metadata.objects[name] = place_from(begin);
  }

  WrittenShard finish() {
    shard_.files.push_back(file_.finish());
    return std::move(shard_);
  }

 private:
  // Records start where their payloads, too, are aligned for whoever maps the file.
  void align() {
    const uint64_t padding = (kAlignment - file_.num_bytes() % kAlignment) % kAlignment;
    if (padding > 0) file_.write(std::string(padding, '\0'));
  }
  DcpPlace place_from(uint64_t begin) const {
    return {.file = name_, .offset = begin, .length = file_.num_bytes() - begin};
  }

  std::string name_;
  FileWriter file_;
  WrittenShard shard_;
};

// Which items each file gets: the largest first, each into the one that has least.
std::vector<std::vector<size_t>> distribute(const std::vector<ShardItem>& items, int64_t num_threads) {
  uint64_t total = 0;
  for (const ShardItem& item : items) total += item.num_bytes();
  const auto num_files = std::clamp<uint64_t>(total / kMinFileBytes, 1, static_cast<uint64_t>(num_threads));
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return items[a].num_bytes() > items[b].num_bytes(); });
  std::vector<std::vector<size_t>> files(num_files);
  std::vector<uint64_t> bytes(num_files);
  for (const size_t item : order) {
    const auto least = std::min_element(bytes.begin(), bytes.end()) - bytes.begin();
    files[least].push_back(item);
    bytes[least] += items[item].num_bytes();
  }
  return files;
}

}  // namespace

uint64_t ShardItem::num_bytes() const { return static_cast<uint64_t>(box.numel()) * c10::elementSize(info.dtype); }

WrittenShard write_shard(const std::filesystem::path& folder, int64_t rank, const std::vector<ShardItem>& items,
                         const std::map<std::string, PlainValue>& objects, int64_t num_threads) {
  if (items.empty() && objects.empty()) return {};
  const auto files = distribute(items, num_threads);
  std::vector<WrittenShard> parts(files.size());
  for_each_of(static_cast<int64_t>(files.size()), num_threads, [&](int64_t i) {
    ShardFile file(folder, fmt::format("__{}_{}.distcp", rank, i));
    if (i == 0) {
      for (const auto& [name, object] : objects) file.write(name, object);
    }
    for (const size_t item : files[static_cast<size_t>(i)]) file.write(items[item]);
    parts[static_cast<size_t>(i)] = file.finish();
  });

  WrittenShard shard = std::move(parts[0]);
  for (size_t i = 1; i < parts.size(); ++i) {
    merge(shard.metadata, std::move(parts[i].metadata));
    shard.files.insert(shard.files.end(), parts[i].files.begin(), parts[i].files.end());
  }
  return shard;
}

}  // namespace titan::checkpoint
