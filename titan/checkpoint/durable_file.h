// Files and folders that are there wholly or not at all, through crashes and power cuts: written under a temporary
// name, flushed to the disk, renamed, and the parent folder flushed too.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

#include "titan/checkpoint/file_writer.h"

namespace titan::checkpoint {

class DurableFile {
 public:
  // Opens `path` + ".partial" for writing. Every function throws c10::Error naming the path and the system's reason.
  explicit DurableFile(std::filesystem::path path);
  // Removes what was written unless it was committed.
  ~DurableFile();
  DurableFile(const DurableFile&) = delete;
  DurableFile& operator=(const DurableFile&) = delete;

  void write(std::span<const std::byte> bytes) { writer_.write(bytes); }
  void write(std::string_view text) { writer_.write(text); }

  // Makes the file appear under its name, replacing an older one. Nothing can be written after it.
  WrittenFile commit();

 private:
  std::filesystem::path path_, partial_;
  FileWriter writer_;
  bool committed_ = false;
};

// A whole file of `text`.
WrittenFile write_durable_file(const std::filesystem::path& path, std::string_view text);

// Makes the names in `folder` durable: files created, renamed, removed.
void flush_folder(const std::filesystem::path& folder);

// Gives the finished folder `from` the name `to`, beside it, in one step even where `to` exists; what was there is
// removed afterwards. Where the file system cannot exchange names, the old folder is moved to `spare` for a moment: a
// crash then leaves it there, for the caller to move back.
void replace_folder(const std::filesystem::path& from, const std::filesystem::path& to,
                    const std::filesystem::path& spare);

}  // namespace titan::checkpoint
