#include "titan/checkpoint/zip_archive.h"

#include <c10/util/Exception.h>

#include <cstring>
#include <utility>

#include "titan/checkpoint/crc32.h"

namespace titan::checkpoint {
namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kDirectoryEntry = 0x02014b50;
constexpr uint32_t kDirectoryEnd = 0x06054b50;
constexpr uint32_t kZip64Locator = 0x07064b50;
constexpr uint32_t kZip64DirectoryEnd = 0x06064b50;

constexpr uint64_t kLocalHeaderSize = 30;
constexpr uint64_t kDirectoryEntrySize = 46;
constexpr uint64_t kDirectoryEndSize = 22;
constexpr uint64_t kZip64LocatorSize = 20;

constexpr uint32_t kInZip64 = 0xffffffff;  // a 32-bit field whose value stands in the zip64 record
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kEncrypted = 1;

}  // namespace

ZipArchive::ZipArchive(std::span<const std::byte> bytes, std::string name, uint64_t file_offset)
    : bytes_(bytes), name_(std::move(name)), file_offset_(file_offset) {
  read_directory();
}

const ZipArchive::Record& ZipArchive::record(const std::string& record) const {
  const auto found = records_.find(record);
  TORCH_CHECK_VALUE(found != records_.end(), name_, ": byte ", file_offset_, ": the zip archive has no record '",
                    record, "'");
  return found->second;
}

std::span<const std::byte> ZipArchive::payload(const std::string& record) const {
  const Record& found = this->record(record);
  const auto payload = bytes_.subspan(found.offset, found.size);
  TORCH_CHECK_VALUE(crc32_of(payload) == found.crc32, name_, ": byte ", file_offset_ + found.offset, ": record '",
                    record, "' is damaged: its ", found.size,
                    " bytes do not have the checksum that was stored with it");
  return payload;
}

void ZipArchive::read_directory() {
  // The end record is the last thing in the file: torch.save writes no archive comment after it.
  check(bytes_.size() >= kDirectoryEndSize, 0, "expected a zip archive, got too few bytes");
  const uint64_t end = bytes_.size() - kDirectoryEndSize;
  check(number<uint32_t>(end) == kDirectoryEnd, end, "expected the end of a zip archive; truncated?");

  uint64_t num_entries = number<uint16_t>(end + 10);
  uint64_t directory = number<uint32_t>(end + 16);
  uint64_t directory_end = end;
  if (end >= kZip64LocatorSize && number<uint32_t>(end - kZip64LocatorSize) == kZip64Locator) {
    const auto zip64 = number<uint64_t>(end - kZip64LocatorSize + 8);
    check(zip64 < end && number<uint32_t>(zip64) == kZip64DirectoryEnd, end - kZip64LocatorSize,
          "the zip64 locator does not point to a zip64 record");
    num_entries = number<uint64_t>(zip64 + 32);
    directory = number<uint64_t>(zip64 + 48);
    directory_end = zip64;
  }
  check(directory <= directory_end, end, "the zip directory does not lie before its end");

  uint64_t at = directory;
  for (uint64_t i = 0; i < num_entries; ++i) {
    check(at < directory_end && number<uint32_t>(at) == kDirectoryEntry, at, "expected an entry of the zip directory");
    const auto flags = number<uint16_t>(at + 8);
    const auto method = number<uint16_t>(at + 10);
    const auto name_size = number<uint16_t>(at + 28);
    const auto extra_size = number<uint16_t>(at + 30);
    const auto comment_size = number<uint16_t>(at + 32);
    uint64_t compressed_size = number<uint32_t>(at + 20);
    Record record{.offset = 0, .size = number<uint32_t>(at + 24), .crc32 = number<uint32_t>(at + 16)};
    uint64_t local_header = number<uint32_t>(at + 42);

    const uint64_t name_at = at + kDirectoryEntrySize;
    const uint64_t extra_at = name_at + name_size;
    const uint64_t next = extra_at + extra_size + comment_size;
    check(next <= directory_end, at, "an entry reaches beyond the zip directory");
    const std::string_view name(reinterpret_cast<const char*>(bytes_.data()) + name_at, name_size);

    // Zip64 values stand in this order, each only where its 32-bit field is full.
    for (uint64_t field = extra_at; field + 4 <= extra_at + extra_size;) {
      const auto field_end = field + 4 + number<uint16_t>(field + 2);
      check(field_end <= extra_at + extra_size, field, "an extra field reaches beyond its zip entry");
      if (number<uint16_t>(field) == kZip64Extra) {
        uint64_t value_at = field + 4;
        for (uint64_t* value : {&record.size, &compressed_size, &local_header}) {
          if (*value != kInZip64) continue;
          check(value_at + 8 <= field_end, field, "expected a 64-bit value in the zip64 field");
          *value = number<uint64_t>(value_at);
          value_at += 8;
        }
      }
      field = field_end;
    }
    check(method == 0 && compressed_size == record.size, at,
          "expected a stored record, got a compressed one; torch.save writes none");
    check((flags & kEncrypted) == 0, at, "expected a plain record, got an encrypted one");

    record.offset = payload_offset(local_header, name);
    check(record.size <= bytes_.size() - record.offset, at, "a record reaches beyond the zip archive");
    const size_t slash = name.find('/');
    check(slash != std::string_view::npos, name_at, "expected a record inside the archive's folder");
    const bool inserted = records_.emplace(std::string(name.substr(slash + 1)), record).second;
    check(inserted, name_at, "a record stands twice in the zip directory");
    at = next;
  }
}

uint64_t ZipArchive::payload_offset(uint64_t local_header, std::string_view record) const {
  check(number<uint32_t>(local_header) == kLocalHeader, local_header, "expected the header of a zip record");
  const uint64_t name_at = local_header + kLocalHeaderSize;
  const auto name_size = number<uint16_t>(local_header + 26);
  const uint64_t payload = name_at + name_size + number<uint16_t>(local_header + 28);
  check(payload <= bytes_.size(), local_header, "a record's header reaches beyond the zip archive");
  const std::string_view name(reinterpret_cast<const char*>(bytes_.data()) + name_at, name_size);
  check(name == record, name_at, "a record's name differs from the one in the zip directory");
  return payload;
}

template <class T>
T ZipArchive::number(uint64_t offset) const {
  check(offset <= bytes_.size() && bytes_.size() - offset >= sizeof(T), offset, "expected more bytes");
  T value;
  std::memcpy(&value, bytes_.data() + offset, sizeof(T));  // zips are little-endian, as are this project's machines
  return value;
}

void ZipArchive::check(bool condition, uint64_t offset, std::string_view message) const {
  TORCH_CHECK_VALUE(condition, name_, ": byte ", file_offset_ + offset, ": ", message);
}

}  // namespace titan::checkpoint
