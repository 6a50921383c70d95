// A reader of Python pickles that runs nothing: it builds a tree of plain values, and where a pickle would call a class
// or a function it notes the name and the arguments. It knows only the opcodes that PyTorch's checkpoints are written
// with (protocols 2 to 5; Python's pickletools documents them), and only the globals that its caller lets through;
// whatever else stands in the file is refused by name. Work and memory are linear in the size of the pickle, and
// nothing recurses.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace titan::pickle {

struct PickleValue {
  enum class Kind { kNone, kBool, kInt, kFloat, kString, kBytes, kTuple, kList, kDict, kGlobal, kCall, kPersistentId };

  Kind kind = Kind::kNone;
  int64_t integer = 0;  // kBool (0 or 1), kInt
  double real = 0;      // kFloat
  std::string text;     // kString, kBytes; kGlobal and kCall: "module name", as in "torch float32"
  std::vector<const PickleValue*>
      items;                           // kTuple, kList; kDict: key, value, key, ...; kCall: arguments; kPersistentId: 1
  const PickleValue* state = nullptr;  // kCall: what BUILD would have handed to the object; a dict or a tuple
  uint64_t offset = 0;                 // where it stands in the file
};

class Pickle {
 public:
  // Whether a global, as "module name", is one that the format is written with.
  using KnowsGlobal = bool (*)(std::string_view global);

  // Reads one pickle. `name` and `file_offset` (where `bytes` starts in that file) are for messages only.
  // Throws c10::ValueError naming the byte for anything truncated, unknown, or not a global that `knows_global`.
  Pickle(std::span<const std::byte> bytes, std::string name, uint64_t file_offset, KnowsGlobal knows_global);

  const PickleValue& root() const { return *root_; }

  // What a value must be. Each throws c10::ValueError naming the byte, the expected and the found kind.
  int64_t integer(const PickleValue& value) const;
  const std::string& string(const PickleValue& value) const;
  const std::vector<const PickleValue*>& sequence(const PickleValue& value) const;  // a tuple or list
  const std::vector<const PickleValue*>& dict(const PickleValue& value) const;
  // The arguments of a call of `global`.
  const std::vector<const PickleValue*>& call(const PickleValue& value, std::string_view global) const;
  // An attribute of an object of class `global`, by the dict in its state; nullptr if it has none of that name.
  const PickleValue* attribute(const PickleValue& value, std::string_view global, std::string_view name) const;

  [[noreturn]] void fail(const PickleValue& value, std::string_view message) const;

 private:
  std::string name_;
  std::deque<PickleValue> values_;  // owns the tree; values are shared and may even form cycles
  const PickleValue* root_ = nullptr;
};

}  // namespace titan::pickle
