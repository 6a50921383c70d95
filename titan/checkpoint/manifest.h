// What vouches for a checkpoint of this program: manifest.json, the last file written, with size and checksums of every
// other. PyTorch passes it over. It says nothing about tensors.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "titan/checkpoint/file_writer.h"

namespace titan::checkpoint {

struct Manifest {
  int64_t step = 0;
  std::string contents;  // "full", or "model": weights only
  std::vector<WrittenFile> files;

  const WrittenFile* find(const std::string& file) const;
  uint64_t num_bytes() const;
};

inline constexpr const char* kManifestName = "manifest.json";

void write_manifest(const std::filesystem::path& checkpoint, const Manifest& manifest);

// Nothing if there is none: another program's checkpoint. Throws c10::ValueError naming what is wrong with it.
std::optional<Manifest> read_manifest(const std::filesystem::path& checkpoint);

// Throws c10::ValueError naming the first file that is missing or of another size.
void check_sizes(const std::filesystem::path& checkpoint, const Manifest& manifest);

// Reads every byte. Throws c10::ValueError naming the first file and byte that is missing, of another size or damaged.
void check_contents(const std::filesystem::path& checkpoint, const Manifest& manifest);

// Throws c10::ValueError if `bytes`, which start at block `block` of the file `written`, do not have their checksums.
// They are whole blocks, but for the end of the file.
void check_blocks(const std::filesystem::path& file, const WrittenFile& written, uint64_t block,
                  std::span<const std::byte> bytes);

}  // namespace titan::checkpoint
