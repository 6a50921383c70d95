#include "titan/checkpoint/dcp_reader.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "titan/checkpoint/chunk_reader.h"
#include "titan/checkpoint/crc32.h"
#include "titan/checkpoint/dtype_names.h"

namespace titan::checkpoint {
namespace {

using pickle::Pickle;

constexpr const char* kMetadataName = ".metadata";

DcpMetadata read_checked_metadata(const std::filesystem::path& folder, const std::optional<Manifest>& manifest) {
  const auto path = folder / kMetadataName;
  if (manifest) {
    check_sizes(folder, *manifest);
    const WrittenFile* written = manifest->find(kMetadataName);
    TORCH_CHECK_VALUE(written, (folder / kManifestName).string(), ": does not list ", kMetadataName,
                      "; the folder holds no PyTorch checkpoint of this program");
    check_blocks(path, *written, 0, MappedFile::open(path)->bytes());
  }
  return read_dcp_metadata(path);
}

bool is_contiguous(const StoredTensor& stored) {
  int64_t stride = 1;
  for (size_t dim = stored.sizes.size(); dim-- > 0;) {
    if (stored.sizes[dim] != 1 && stored.strides[dim] != stride) return false;
    stride *= stored.sizes[dim];
  }
  return true;
}

std::string tensor_label(const std::string& name) { return fmt::format("tensor '{}'", name); }

}  // namespace

DcpReader::DcpReader(std::filesystem::path folder)
    : folder_(std::move(folder)),
      manifest_(read_manifest(folder_)),
      metadata_(read_checked_metadata(folder_, manifest_)) {
  const auto add = [&](const std::string& name, const DcpPlace& place) {
    auto& file = files_[place.file];
    if (!file) {
      file = std::make_unique<RangeReader>(MappedFile::open(folder_ / place.file),
                                           manifest_ ? manifest_->find(place.file) : nullptr);
    }
    const uint64_t size = file->file()->bytes().size();
    TORCH_CHECK_VALUE(place.offset <= size && place.length <= size - place.offset, file->file()->path().string(),
                      ": expected ", place.length, " bytes of '", name, "' at byte ", place.offset, ", got a file of ",
                      size, " bytes; truncated?");
  };
  for (const auto& [name, place] : metadata_.objects) add(name, place);
  for (const auto& [name, tensor] : metadata_.tensors) {
    infos_.emplace(name, tensor.info);
    for (const DcpChunk& chunk : tensor.chunks) {
      add(name, chunk.place);
      // Records are not compressed. Checked before anything of the tensor's size is allocated.
      uint64_t num_bytes = c10::elementSize(tensor.info.dtype);
      for (const int64_t dim : chunk.box.sizes) {
        if (__builtin_mul_overflow(num_bytes, static_cast<uint64_t>(dim), &num_bytes)) num_bytes = UINT64_MAX;
      }
      TORCH_CHECK_VALUE(num_bytes <= chunk.place.length, (folder_ / chunk.place.file).string(), ": tensor '", name,
                        "': byte ", chunk.place.offset, ": a chunk of shape ", at::IntArrayRef(chunk.box.sizes),
                        " does not fit its record of ", chunk.place.length, " bytes");
    }
  }
}

const DcpTensor& DcpReader::tensor_of(const std::string& name) const {
  const auto found = metadata_.tensors.find(name);
  TORCH_CHECK_VALUE(found != metadata_.tensors.end(), folder_.string(), ": has no tensor '", name, "'");
  return found->second;
}

at::Tensor DcpReader::read(const std::string& name) const {
  const DcpTensor& tensor = tensor_of(name);
  if (tensor.chunks.size() == 1) return read_chunk(name, tensor, tensor.chunks[0]).contiguous();

  const at::NoGradGuard no_grad;
  auto whole = at::empty(tensor.info.shape, tensor.info.dtype);
  for (const DcpChunk& chunk : tensor.chunks) view_of(whole, chunk.box).copy_(read_chunk(name, tensor, chunk));
  return whole;
}

void DcpReader::read_into(const std::string& name, const Box& box, const at::Tensor& to) const {
  const DcpTensor& tensor = tensor_of(name);
  for (const DcpChunk& chunk : tensor.chunks) {
    const auto shared = intersection(box, chunk.box);
    if (!shared) continue;
    const Box from = within(chunk.box, *shared);
    const auto target = view_of(to, within(box, *shared));
    const RangeReader& file = *files_.at(chunk.place.file);
    const StoredTensor stored =
        find_torch_record(*file.file(), chunk.place.offset, chunk.place.length, tensor_label(name));
    check(name, tensor, chunk, stored);
    // A whole record without checksums of its blocks is read where it is mapped, and so checked by its own; so is a
    // bool, whose bytes must be looked at, and a tensor that was saved with strides.
    const bool whole_record = *shared == chunk.box;
    const bool mapped = (whole_record && !file.has_checksums()) || stored.dtype == c10::kBool || !is_contiguous(stored);
    if (mapped) {
      target.copy_(view_of(read_chunk(name, tensor, chunk), from));
    } else {
      read_box(file, stored.data_at, stored.sizes, stored.dtype, from, target);
    }
  }
}

at::Tensor DcpReader::read_chunk(const std::string& name, const DcpTensor& tensor, const DcpChunk& chunk) const {
  const auto& file = files_.at(chunk.place.file)->file();
  check(name, tensor, chunk, find_torch_record(*file, chunk.place.offset, chunk.place.length, tensor_label(name)));
  return read_torch_record(file, chunk.place.offset, chunk.place.length, tensor_label(name));
}

void DcpReader::check(const std::string& name, const DcpTensor& tensor, const DcpChunk& chunk,
                      const StoredTensor& stored) const {
  TORCH_CHECK_VALUE(stored.dtype == tensor.info.dtype && stored.sizes == chunk.box.sizes,
                    (folder_ / chunk.place.file).string(), ": tensor '", name, "': byte ", chunk.place.offset,
                    ": expected ", torch_name(tensor.info.dtype), " of shape [",
                    fmt::format("{}", fmt::join(chunk.box.sizes, ", ")), "], got ", torch_name(stored.dtype),
                    " of shape ", at::IntArrayRef(stored.sizes));
}

std::unique_ptr<const Pickle> DcpReader::read_object(const std::string& name) const {
  const auto found = metadata_.objects.find(name);
  TORCH_CHECK_VALUE(found != metadata_.objects.end(), folder_.string(), ": has no object '", name, "'");
  const DcpPlace& place = found->second;
  const RangeReader& file = *files_.at(place.file);
  file.check(place.offset, place.length);
  return read_plain_record(*file.file(), place.offset, place.length, fmt::format("object '{}'", name));
}

std::optional<int64_t> DcpReader::read_integer(const std::string& name) const {
  if (!metadata_.objects.contains(name)) return std::nullopt;
  const auto pickle = read_object(name);
  return pickle->integer(pickle->root());
}

uint64_t DcpReader::num_bytes_read() const {
  uint64_t sum = 0;
  for (const auto& [name, file] : files_) sum += file->num_bytes_read();
  return sum;
}

}  // namespace titan::checkpoint
