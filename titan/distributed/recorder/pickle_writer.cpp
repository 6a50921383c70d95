#include "titan/distributed/recorder/pickle_writer.h"

#include <utility>

namespace titan::distributed::recorder {

PickleWriter::PickleWriter() : bytes_("\x80\x02") {}

void PickleWriter::begin_dict() { bytes_ += "}("; }
void PickleWriter::end_dict() { bytes_ += 'u'; }
void PickleWriter::begin_list() { bytes_ += "]("; }
void PickleWriter::end_list() { bytes_ += 'e'; }
void PickleWriter::begin_tuple() { bytes_ += '('; }
void PickleWriter::end_tuple() { bytes_ += 't'; }
void PickleWriter::boolean(bool value) { bytes_ += value ? '\x88' : '\x89'; }
void PickleWriter::none() { bytes_ += 'N'; }

void PickleWriter::string(std::string_view text) {
  const auto [known, is_new] = memo_.try_emplace(std::string(text), static_cast<uint32_t>(memo_.size()));
  if (!is_new) {
    bytes_ += 'j';  // LONG_BINGET
    return number(known->second, 4);
  }
  bytes_ += 'X';  // BINUNICODE
  number(text.size(), 4);
  bytes_ += text;
  bytes_ += 'r';  // LONG_BINPUT
  number(known->second, 4);
}

void PickleWriter::integer(int64_t value) {
  bytes_ += "\x8a\x08";  // LONG1 of 8 bytes
  number(static_cast<uint64_t>(value), 8);
}

// Little-endian.
void PickleWriter::number(uint64_t value, int num_bytes) {
  for (int i = 0; i < num_bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xFFU);
}

std::string PickleWriter::finish() {
  bytes_ += '.';
  return std::move(bytes_);
}

}  // namespace titan::distributed::recorder
