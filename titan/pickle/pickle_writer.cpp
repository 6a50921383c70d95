#include "titan/pickle/pickle_writer.h"

#include <c10/util/Exception.h>

#include <bit>
#include <cstring>
#include <limits>
#include <utility>

namespace titan::pickle {

PickleWriter::PickleWriter(int protocol) : protocol_(protocol) {
  opcode(static_cast<char>(0x80));
  number(static_cast<uint8_t>(protocol));
}

void PickleWriter::boolean(bool value) { opcode(static_cast<char>(value ? 0x88 : 0x89)); }

void PickleWriter::integer(int64_t value) {
  if (value >= 0 && value <= std::numeric_limits<uint8_t>::max()) {
    opcode('K');
    number(static_cast<uint8_t>(value));
  } else if (value >= 0 && value <= std::numeric_limits<uint16_t>::max()) {
    opcode('M');
    number(static_cast<uint16_t>(value));
  } else if (value >= std::numeric_limits<int32_t>::min() && value <= std::numeric_limits<int32_t>::max()) {
    opcode('J');
    number(static_cast<int32_t>(value));
  } else {
    opcode(static_cast<char>(0x8a));
    number(static_cast<uint8_t>(sizeof(value)));
    number(value);
  }
}

void PickleWriter::real(double value) {
  opcode('G');
  number(__builtin_bswap64(std::bit_cast<uint64_t>(value)));  // the one big-endian number of the format
}

void PickleWriter::string(std::string_view text) {
  const std::string key(text);
  if (recall(key)) return;
  if (protocol_ >= 4 && text.size() <= std::numeric_limits<uint8_t>::max()) {
    opcode(static_cast<char>(0x8c));
    number(static_cast<uint8_t>(text.size()));
  } else {
    opcode('X');
    number(static_cast<uint32_t>(text.size()));
  }
  bytes_ += text;
  remember(key);
}

void PickleWriter::global(std::string_view module, std::string_view name) {
  const std::string key = std::string(module) + '\n' + std::string(name) + '\n';  // no text of ours has a line end
  if (recall(key)) return;
  if (protocol_ >= 4) {
    string(module);
    string(name);
    opcode(static_cast<char>(0x93));
  } else {
    opcode('c');
    bytes_ += key;
  }
  remember(key);
}

std::string PickleWriter::finish() {
  opcode('.');
  return std::move(bytes_);
}

template <class T>
void PickleWriter::number(T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));  // little-endian, as are this project's machines
  bytes_.append(raw, sizeof(T));
}

bool PickleWriter::recall(const std::string& what) {
  const auto found = memo_.find(what);
  if (found == memo_.end()) return false;
  if (found->second <= std::numeric_limits<uint8_t>::max()) {
    opcode('h');
    number(static_cast<uint8_t>(found->second));
  } else {
    opcode('j');
    number(found->second);
  }
  return true;
}

void PickleWriter::remember(const std::string& what) {
  const auto index = static_cast<uint32_t>(memo_.size());
  memo_.emplace(what, index);
  if (index <= std::numeric_limits<uint8_t>::max()) {
    opcode('q');
    number(static_cast<uint8_t>(index));
  } else {
    opcode('r');
    number(index);
  }
}

}  // namespace titan::pickle
