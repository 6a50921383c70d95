#include "titan/checkpoint/dcp_reader.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "titan/checkpoint/dtype_names.h"
#include "titan/checkpoint/torch_record.h"

namespace titan::checkpoint {

DcpReader::DcpReader(std::filesystem::path folder)
    : folder_(std::move(folder)), metadata_(read_dcp_metadata(folder_ / ".metadata")) {
  for (const auto& [name, tensor] : metadata_.tensors) {
    infos_.emplace(name, tensor.info);
    for (const DcpChunk& chunk : tensor.chunks) {
      auto& file = files_[chunk.file];
      if (!file) file = MappedFile::open(folder_ / chunk.file);
      const uint64_t size = file->bytes().size();
      TORCH_CHECK_VALUE(chunk.offset <= size && chunk.length <= size - chunk.offset, file->path().string(),
                        ": expected ", chunk.length, " bytes of '", name, "' at byte ", chunk.offset,
                        ", got a file of ", size, " bytes; truncated?");
      // Records are not compressed. Checked before anything of the tensor's size is allocated.
      uint64_t num_bytes = c10::elementSize(tensor.info.dtype);
      for (const int64_t dim : chunk.sizes) {
        if (__builtin_mul_overflow(num_bytes, static_cast<uint64_t>(dim), &num_bytes)) num_bytes = UINT64_MAX;
      }
      TORCH_CHECK_VALUE(num_bytes <= chunk.length, file->path().string(), ": tensor '", name, "': byte ", chunk.offset,
                        ": a chunk of shape ", at::IntArrayRef(chunk.sizes), " does not fit its record of ",
                        chunk.length, " bytes");
    }
  }
}

at::Tensor DcpReader::read(const std::string& name) const {
  const auto found = metadata_.tensors.find(name);
  TORCH_CHECK_VALUE(found != metadata_.tensors.end(), folder_.string(), ": has no tensor '", name, "'");
  const DcpTensor& tensor = found->second;
  if (tensor.chunks.size() == 1) return read_chunk(name, tensor, tensor.chunks[0]).contiguous();

  const at::NoGradGuard no_grad;
  const auto whole = at::empty(tensor.info.shape, tensor.info.dtype);
  for (const DcpChunk& chunk : tensor.chunks) {
    auto box = whole;
    for (size_t dim = 0; dim < chunk.sizes.size(); ++dim) {
      box = box.narrow(static_cast<int64_t>(dim), chunk.offsets[dim], chunk.sizes[dim]);
    }
    box.copy_(read_chunk(name, tensor, chunk));
  }
  return whole;
}

at::Tensor DcpReader::read_chunk(const std::string& name, const DcpTensor& tensor, const DcpChunk& chunk) const {
  const auto& file = files_.at(chunk.file);
  const auto read = read_torch_record(file, chunk.offset, chunk.length, fmt::format("tensor '{}'", name));
  TORCH_CHECK_VALUE(read.scalar_type() == tensor.info.dtype && read.sizes() == at::IntArrayRef(chunk.sizes),
                    file->path().string(), ": tensor '", name, "': byte ", chunk.offset, ": expected ",
                    torch_name(tensor.info.dtype), " of shape [", fmt::format("{}", fmt::join(chunk.sizes, ", ")),
                    "], got ", torch_name(read.scalar_type()), " of shape ", read.sizes());
  return read;
}

}  // namespace titan::checkpoint
