#include "titan/checkpoint/mapped_file.h"

#include <ATen/ops/as_strided.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/Exception.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace titan::checkpoint {
namespace {

// How many elements of storage a strided tensor spans, from its first element to its last.
int64_t span_of(at::IntArrayRef sizes, at::IntArrayRef strides) {
  int64_t last = 0;
  for (size_t dim = 0; dim < sizes.size(); ++dim) {
    if (sizes[dim] == 0) return 0;
    last += (sizes[dim] - 1) * strides[dim];
  }
  return last + 1;
}

}  // namespace

MappedFile::MappedFile(std::filesystem::path path, std::byte* data, size_t size)
    : path_(std::move(path)), data_(data), size_(size) {}

MappedFile::~MappedFile() {
  if (data_) ::munmap(data_, size_);
  if (fd_ >= 0) ::close(fd_);
}

std::shared_ptr<const MappedFile> MappedFile::open(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TORCH_CHECK_VALUE(fd >= 0, path.string(), ": cannot be read: ", std::strerror(errno));
  struct stat status = {};
  const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
  void* data = nullptr;
  int error = 0;
  if (regular && status.st_size > 0) {
    // Private and writable: whoever writes to a tensor gets pages of its own. No reserve, or strict overcommit would
    // refuse checkpoints larger than memory that are only read.
    data = ::mmap(nullptr, static_cast<size_t>(status.st_size), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd,
                  0);
    error = data == MAP_FAILED ? errno : 0;
  }
  ::close(fd);
  TORCH_CHECK_VALUE(regular, path.string(), ": is not a regular file");
  TORCH_CHECK(error == 0, path.string(), ": cannot be mapped: ", std::strerror(error));
  return std::shared_ptr<const MappedFile>(
      new MappedFile(path, static_cast<std::byte*>(data), static_cast<size_t>(status.st_size)));
}

void MappedFile::read(uint64_t offset, std::span<std::byte> to) const {
  std::call_once(opens_once_, [&] {
    fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC);
    TORCH_CHECK_VALUE(fd_ >= 0, path_.string(), ": cannot be read: ", std::strerror(errno));
  });
  while (!to.empty()) {
    const ssize_t size = ::pread(fd_, to.data(), to.size(), static_cast<off_t>(offset));
    if (size < 0 && errno == EINTR) continue;
    TORCH_CHECK_VALUE(size > 0, path_.string(), ": cannot be read at byte ", offset, ": ",
                      size < 0 ? std::strerror(errno) : "the file ends there");
    to = to.subspan(static_cast<size_t>(size));
    offset += static_cast<uint64_t>(size);
  }
}

at::Tensor MappedFile::tensor(uint64_t offset, at::IntArrayRef sizes, at::IntArrayRef strides,
                              c10::ScalarType dtype) const {
  const auto element_size = static_cast<uint64_t>(c10::elementSize(dtype));
  const auto num_elements = static_cast<uint64_t>(span_of(sizes, strides));
  TORCH_INTERNAL_ASSERT(offset <= size_ && num_elements <= (size_ - offset) / element_size);
  if (num_elements == 0) return at::empty(sizes, dtype);

  std::byte* first = data_ + offset;
  if (dtype == c10::kBool) {
    const auto* bad = std::find_if(first, first + num_elements, [](std::byte b) { return b > std::byte{1}; });
    TORCH_CHECK_VALUE(bad == first + num_elements, path_.string(), ": byte ", bad - data_,
                      ": expected a bool (0 or 1), got ", static_cast<int>(*bad));
  }
  if (offset % element_size == 0) {
    return at::from_blob(
        first, sizes, strides, [keep = shared_from_this()](void*) {}, at::TensorOptions(dtype));
  }
  const auto aligned = at::empty({static_cast<int64_t>(num_elements)}, dtype);
  std::memcpy(aligned.mutable_data_ptr(), first, num_elements * element_size);
  return aligned.as_strided(sizes, strides);
}

}  // namespace titan::checkpoint
