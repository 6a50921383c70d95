// Writes Python pickles value by value, of the opcodes that pickle.h reads. What comes out is what the calls say, in
// their order: values go on Python's stack, and tuple, set_items, reduce ... take them from there. Texts and globals
// that come again are recalled from the memo, so that a .metadata with a million chunks stays small.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace titan::pickle {

class PickleWriter {
 public:
  // 2, as torch.save writes, or 4, as .metadata is written.
  explicit PickleWriter(int protocol);

  void none() { opcode('N'); }
  void boolean(bool value);
  void integer(int64_t value);
  void real(double value);
  void string(std::string_view text);
  // "torch", "Size".
  void global(std::string_view module, std::string_view name);

  void mark() { opcode('('); }
  void empty_tuple() { opcode(')'); }
  void tuple_from_mark() { opcode('t'); }
  void tuple_of_one() { opcode(static_cast<char>(0x85)); }
  void empty_list() { opcode(']'); }
  void append_from_mark() { opcode('e'); }
  void empty_dict() { opcode('}'); }
  void set_items_from_mark() { opcode('u'); }

  void new_object() { opcode(static_cast<char>(0x81)); }  // of class and argument tuple
  void reduce() { opcode('R'); }                          // a call of function and argument tuple
  void build() { opcode('b'); }                           // gives an object its state
  void persistent_id() { opcode('Q'); }

  // The finished pickle. Nothing can be written after it.
  std::string finish();

 private:
  void opcode(char code) { bytes_ += code; }
  template <class T>
  void number(T value);
  bool recall(const std::string& what);
  void remember(const std::string& what);

  int protocol_;
  std::string bytes_;
  std::map<std::string, uint32_t, std::less<>> memo_;
};

}  // namespace titan::pickle
