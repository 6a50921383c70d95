// Writes Python pickles (protocol 2; Python's pickletools documents the opcodes) of dicts, lists, tuples, strings,
// integers, bools and None: the little that flight-recorder dumps are made of. checkpoint/pickle.h reads them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace titan::distributed::recorder {

// Values are written one after another; what stands between begin_x and end_x are the container's items, of a dict key,
// value, key, ... The caller keeps the order right.
class PickleWriter {
 public:
  PickleWriter();

  void begin_dict();
  void end_dict();
  void begin_list();
  void end_list();
  void begin_tuple();
  void end_tuple();
  // Strings come again and again: each is written once.
  void string(std::string_view text);
  void integer(int64_t value);
  void boolean(bool value);
  void none();

  // The whole pickle. Nothing can be written after it.
  std::string finish();

 private:
  void number(uint64_t value, int num_bytes);

  std::string bytes_;
  std::unordered_map<std::string, uint32_t> memo_;
};

}  // namespace titan::distributed::recorder
