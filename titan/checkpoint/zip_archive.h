// The zip files that torch.save writes: stored, never compressed, zip64 where needed (PKWARE's APPNOTE.TXT, sections
// 4.3 and 4.5). It finds records and checks their checksums; other zips' features are refused by name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace titan::checkpoint {

class ZipArchive {
 public:
  struct Record {
    uint64_t offset = 0;  // of the payload, within the archive
    uint64_t size = 0;
    uint32_t crc32 = 0;
  };

  // `bytes` is the whole archive and must outlive this. `name` and `file_offset` (where `bytes` starts in that file)
  // are for messages only. Throws c10::ValueError naming the byte for anything malformed.
  ZipArchive(std::span<const std::byte> bytes, std::string name, uint64_t file_offset);

  bool contains(const std::string& record) const { return records_.contains(record); }

  // A record by its name without the archive's own folder: "data.pkl" for "archive/data.pkl". Throws c10::ValueError if
  // there is none.
  const Record& record(const std::string& record) const;

  // The record's bytes. Throws c10::ValueError if they do not have its checksum.
  std::span<const std::byte> payload(const std::string& record) const;

 private:
  void read_directory();
  uint64_t payload_offset(uint64_t local_header, std::string_view record) const;
  template <class T>
  T number(uint64_t offset) const;
  void check(bool condition, uint64_t offset, std::string_view message) const;

  std::span<const std::byte> bytes_;
  std::string name_;
  uint64_t file_offset_;
  std::map<std::string, Record> records_;
};

}  // namespace titan::checkpoint
