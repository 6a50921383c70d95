#include "titan/checkpoint/durable_file.h"

#include <c10/util/Exception.h>
#include <fcntl.h>
#include <stdio.h>  // renameat2
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace titan::checkpoint {

DurableFile::DurableFile(std::filesystem::path path)
    : path_(std::move(path)), partial_(path_.string() + ".partial"), writer_(partial_) {}

DurableFile::~DurableFile() {
  if (!committed_) ::unlink(partial_.c_str());
}

WrittenFile DurableFile::commit() {
  WrittenFile written = writer_.finish();
  written.name = path_.filename().string();
  TORCH_CHECK(::rename(partial_.c_str(), path_.c_str()) == 0, path_.string(),
              ": cannot be renamed: ", std::strerror(errno));
  committed_ = true;
  flush_folder(path_.has_parent_path() ? path_.parent_path() : ".");
  return written;
}

WrittenFile write_durable_file(const std::filesystem::path& path, std::string_view text) {
  DurableFile file(path);
  file.write(text);
  return file.commit();
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
