// A file mapped for reading, and tensors that lie in it without a copy. It knows no format.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <span>

namespace titan::checkpoint {

class MappedFile : public std::enable_shared_from_this<MappedFile> {
 public:
  // Throws c10::ValueError naming the path if it is no readable regular file.
  static std::shared_ptr<const MappedFile> open(const std::filesystem::path& path);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Copies bytes of the file into `to`, by a system call: what is read once need not be mapped page by page. Throws
  // c10::ValueError if the file no longer has them.
  void read(uint64_t offset, std::span<std::byte> to) const;

  // A tensor over the bytes from `offset` on; the caller has checked that they hold it. It keeps the mapping alive, and
  // writes to it stay private. Where `offset` is not a multiple of the element size, its elements are copied instead.
  // Throws c10::ValueError for a bool that is neither 0 nor 1: reading one is undefined behaviour everywhere else.
  at::Tensor tensor(uint64_t offset, at::IntArrayRef sizes, at::IntArrayRef strides, c10::ScalarType dtype) const;

 private:
  MappedFile(std::filesystem::path path, std::byte* data, size_t size);

  std::filesystem::path path_;
  std::byte* data_;  // nullptr for an empty file
  size_t size_;
  // Of read(), opened at its first call: a checkpoint may have more files than a process may have open.
  mutable std::once_flag opens_once_;
  mutable int fd_ = -1;
};

}  // namespace titan::checkpoint
