#include "titan/checkpoint/manifest.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "titan/checkpoint/crc32.h"
#include "titan/checkpoint/durable_file.h"
#include "titan/checkpoint/mapped_file.h"

namespace titan::checkpoint {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr int kVersion = 2;
constexpr size_t kDigits = 8;  // of a CRC-32

uint32_t crc32_of_text(std::string_view text) { return crc32_of(std::as_bytes(std::span(text))); }

uint64_t num_blocks(uint64_t num_bytes) { return (num_bytes + kChecksumBlock - 1) / kChecksumBlock; }

json to_json(const Manifest& manifest) {
  json files = json::array();
  for (const WrittenFile& file : manifest.files) {
    std::string checksums;  // a long list of numbers, as one text
    for (const uint32_t crc32 : file.block_crc32s) checksums += fmt::format("{:08x}", crc32);
    files.push_back({{"name", file.name}, {"bytes", file.num_bytes}, {"crc32s", std::move(checksums)}});
  }
  return {{"version", kVersion},
          {"step", manifest.step},
          {"contents", manifest.contents},
          {"block_bytes", kChecksumBlock},
          {"files", std::move(files)}};
}

// Text that has its checksum was written by to_json, so its fields need no further checks than the version.
Manifest from_json(const json& stored) {
  Manifest manifest{
      .step = stored.at("step").get<int64_t>(), .contents = stored.at("contents").get<std::string>(), .files = {}};
  for (const json& file : stored.at("files")) {
    WrittenFile& written = manifest.files.emplace_back();
    written.name = file.at("name").get<std::string>();
    written.num_bytes = file.at("bytes").get<uint64_t>();
    const auto& digits = file.at("crc32s").get_ref<const std::string&>();
    for (size_t at = 0; at + kDigits <= digits.size(); at += kDigits) {
      uint32_t crc32 = 0;
      std::from_chars(digits.data() + at, digits.data() + at + kDigits, crc32, 16);
      written.block_crc32s.push_back(crc32);
    }
  }
  return manifest;
}

}  // namespace

const WrittenFile* Manifest::find(const std::string& file) const {
  const auto found = std::find_if(files.begin(), files.end(), [&](const WrittenFile& f) { return f.name == file; });
  return found == files.end() ? nullptr : &*found;
}

uint64_t Manifest::num_bytes() const {
  uint64_t sum = 0;
  for (const WrittenFile& file : files) sum += file.num_bytes;
  return sum;
}

void write_manifest(const fs::path& checkpoint, const Manifest& manifest) {
  const json body = to_json(manifest);
  write_durable_file(checkpoint / kManifestName,
                     json({{"manifest", body}, {"crc32", crc32_of_text(body.dump())}}).dump(1) + "\n");
}

std::optional<Manifest> read_manifest(const fs::path& checkpoint) {
  const auto path = checkpoint / kManifestName;
  if (!fs::exists(path)) return std::nullopt;
  std::ifstream in(path, std::ios::binary);
  TORCH_CHECK_VALUE(in.good(), path.string(), ": cannot be read");
  const json stored = json::parse(in, nullptr, /*allow_exceptions=*/false);
  const bool well_formed = stored.is_object() && stored.contains("manifest") && stored.contains("crc32") &&
                           stored["crc32"].is_number_unsigned();
  // dump() throws for texts that are no UTF-8; a checkpoint has none.
  const auto body =
      well_formed ? stored["manifest"].dump(-1, ' ', false, json::error_handler_t::replace) : std::string();
  TORCH_CHECK_VALUE(well_formed && stored["crc32"] == crc32_of_text(body), path.string(),
                    ": is damaged: its content does not have its checksum");
  const json& version = stored["manifest"].at("version");
  TORCH_CHECK_VALUE(version == kVersion && stored["manifest"].at("block_bytes") == kChecksumBlock, path.string(),
                    ": expected version ", kVersion, ", got ", version.dump(),
                    "; it was written by another version of this program");
  return from_json(stored["manifest"]);
}

void check_sizes(const fs::path& checkpoint, const Manifest& manifest) {
  for (const WrittenFile& file : manifest.files) {
    std::error_code error;
    const auto size = fs::file_size(checkpoint / file.name, error);
    TORCH_CHECK_VALUE(!error, (checkpoint / file.name).string(), ": is missing from the checkpoint");
    TORCH_CHECK_VALUE(size == file.num_bytes, (checkpoint / file.name).string(), ": is damaged: expected ",
                      file.num_bytes, " bytes, got ", size);
  }
}

void check_contents(const fs::path& checkpoint, const Manifest& manifest) {
  check_sizes(checkpoint, manifest);
  std::vector<std::byte> buffer(kChecksumBlock);
  for (const WrittenFile& file : manifest.files) {
    const auto opened = MappedFile::open(checkpoint / file.name);
    for (uint64_t block = 0; block < num_blocks(file.num_bytes); ++block) {
      const auto bytes = std::span(buffer).first(std::min(kChecksumBlock, file.num_bytes - block * kChecksumBlock));
      opened->read(block * kChecksumBlock, bytes);
      check_blocks(opened->path(), file, block, bytes);
    }
  }
}

void check_blocks(const fs::path& file, const WrittenFile& written, uint64_t block, std::span<const std::byte> bytes) {
  for (; !bytes.empty(); ++block) {
    const auto part = bytes.first(std::min<size_t>(bytes.size(), kChecksumBlock));
    const bool matches = block < written.block_crc32s.size() && crc32_of(part) == written.block_crc32s[block];
    TORCH_CHECK_VALUE(matches, file.string(), ": is damaged: bytes ", block * kChecksumBlock, " to ",
                      block * kChecksumBlock + part.size() - 1, " do not have the checksum that was stored with them");
    bytes = bytes.subspan(part.size());
  }
}

}  // namespace titan::checkpoint
