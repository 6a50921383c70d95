#include "titan/checkpoint/durable_file.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <stdio.h>  // renameat2
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

namespace titan::checkpoint {
namespace {

constexpr size_t kReadBytes = size_t{1} << 20;

uint32_t crc32_after(uint32_t crc32, std::span<const std::byte> bytes) {
  if (bytes.empty()) return crc32;  // zlib takes a null pointer as a wish for the initial value
  return static_cast<uint32_t>(::crc32_z(crc32, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

}  // namespace

DurableFile::DurableFile(std::filesystem::path path) : path_(std::move(path)), partial_(path_.string() + ".partial") {
  fd_ = ::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  check(fd_ >= 0, "created");
}

DurableFile::~DurableFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(partial_.c_str());
}

void DurableFile::write(std::span<const std::byte> bytes) {
  crc32_ = crc32_after(crc32_, bytes);
  num_bytes_ += bytes.size();
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    check(written >= 0, "written");
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void DurableFile::write(std::string_view text) { write(std::as_bytes(std::span(text))); }

void DurableFile::commit() {
  check(::fsync(fd_) == 0, "flushed to the disk");
  check(::close(std::exchange(fd_, -1)) == 0, "closed");
  check(::rename(partial_.c_str(), path_.c_str()) == 0, "renamed");
  flush_folder(path_.has_parent_path() ? path_.parent_path() : ".");
}

void DurableFile::check(bool condition, std::string_view action) const {
  TORCH_CHECK(condition, path_.string(), ": cannot be ", action, ": ", std::strerror(errno));
}

uint32_t crc32_of_file(const std::filesystem::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  TORCH_CHECK_VALUE(fd >= 0, path.string(), ": cannot be read: ", std::strerror(errno));
  std::vector<std::byte> buffer(kReadBytes);
  uint32_t crc32 = 0;
  ssize_t num_read = 0;
  do {
    num_read = ::read(fd, buffer.data(), buffer.size());
    if (num_read > 0) crc32 = crc32_after(crc32, std::span(buffer).first(static_cast<size_t>(num_read)));
  } while (num_read > 0 || (num_read < 0 && errno == EINTR));
  const int error = errno;
  ::close(fd);
  TORCH_CHECK_VALUE(num_read == 0, path.string(), ": cannot be read: ", std::strerror(error));
  return crc32;
}

void flush_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  TORCH_CHECK(fd >= 0, folder.string(), ": cannot be opened: ", std::strerror(errno));
  const bool flushed = ::fsync(fd) == 0;
  const int error = errno;
  ::close(fd);
  TORCH_CHECK(flushed, folder.string(), ": cannot be flushed to the disk: ", std::strerror(error));
}

void replace_folder(const std::filesystem::path& from, const std::filesystem::path& to,
                    const std::filesystem::path& spare) {
  const auto parent = to.parent_path();
  if (!std::filesystem::exists(to)) {
    std::filesystem::rename(from, to);
    flush_folder(parent);
    return;
  }
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_EXCHANGE) == 0) {
    flush_folder(parent);
    std::filesystem::remove_all(from);  // now the old one
    return;
  }
  TORCH_CHECK(errno == EINVAL || errno == ENOSYS, to.string(), ": cannot be replaced: ", std::strerror(errno));
  std::filesystem::rename(to, spare);
  flush_folder(parent);
  std::filesystem::rename(from, to);
  flush_folder(parent);
  std::filesystem::remove_all(spare);
}

}  // namespace titan::checkpoint
