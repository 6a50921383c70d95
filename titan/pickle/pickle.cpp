#include "titan/pickle/pickle.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <unordered_map>
#include <utility>

namespace titan::pickle {
namespace {

using Kind = PickleValue::Kind;

// A .metadata has about 25 values a chunk: these hold some 2.5 million chunks.
constexpr size_t kMaxBytes = size_t{1} << 30;
constexpr size_t kMaxValues = size_t{1} << 26;
constexpr size_t kMaxOpenMarks = 64;
constexpr uint8_t kMaxProtocol = 5;

std::string_view kind_name(Kind kind) {
  switch (kind) {
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "a bool";
    case Kind::kInt:
      return "an int";
    case Kind::kFloat:
      return "a float";
    case Kind::kString:
      return "a str";
    case Kind::kBytes:
      return "bytes";
    case Kind::kTuple:
      return "a tuple";
    case Kind::kList:
      return "a list";
    case Kind::kDict:
      return "a dict";
    case Kind::kGlobal:
      return "a global";
    case Kind::kCall:
      return "an object";
    case Kind::kPersistentId:
      return "a persistent id";
  }
  return "?";
}

// Enum members were pickled as getattr(class, name) by some Python 3.11 and 3.12; only for this one enum is that read.
constexpr std::string_view kGetattr = "builtins getattr";
constexpr std::string_view kEnumOfDcp = "torch.distributed.checkpoint.metadata _MEM_FORMAT_ENCODING";

class Interpreter {
 public:
  Interpreter(std::span<const std::byte> bytes, const std::string& name, uint64_t file_offset,
              Pickle::KnowsGlobal knows_global, std::deque<PickleValue>& values)
      : bytes_(bytes), name_(name), file_offset_(file_offset), knows_global_(knows_global), values_(values) {}

  const PickleValue* run() {
    if (bytes_.size() > kMaxBytes) fail(fmt::format("expected at most {} bytes of pickle", kMaxBytes));
    while (!stopped_) {
      opcode_at_ = position_;
      step(read_unsigned<uint8_t>());
    }
    PickleValue* root = pop();
    check(stack_.empty() && marks_.empty(), "expected one value at the end, got more");
    return root;
  }

 private:
  // Opcodes, by the numbers and in the order of Python's pickletools.
  void step(uint8_t opcode) {
    switch (opcode) {
      case 0x80:
        return protocol(read_unsigned<uint8_t>());
      case 0x95:
        return (void)read_unsigned<uint64_t>();  // FRAME: a hint for buffered reading
      case '.':
        stopped_ = true;
        return;
      case '(':
        return mark();

      case 'N':
        return (void)push(Kind::kNone);
      case 0x88:
        return (void)push_integer(Kind::kBool, 1);
      case 0x89:
        return (void)push_integer(Kind::kBool, 0);
      case 'K':
        return push_integer(Kind::kInt, read_unsigned<uint8_t>());
      case 'M':
        return push_integer(Kind::kInt, read_unsigned<uint16_t>());
      case 'J':
        return push_integer(Kind::kInt, static_cast<int32_t>(read_unsigned<uint32_t>()));
      case 0x8a:
        return long_integer();
      case 'G':
        push(Kind::kFloat)->real = std::bit_cast<double>(__builtin_bswap64(read_unsigned<uint64_t>()));
        return;
      case 0x8c:
        return push_string(read_text(read_unsigned<uint8_t>()));
      case 'X':
        return push_string(read_text(read_unsigned<uint32_t>()));
      case 0x8d:
        return push_string(read_text(read_unsigned<uint64_t>()));
      case 'C':
        return push_bytes(read_text(read_unsigned<uint8_t>()));
      case 'B':
        return push_bytes(read_text(read_unsigned<uint32_t>()));

      case ')':
        return (void)push(Kind::kTuple);
      case 0x85:
        return tuple(1);
      case 0x86:
        return tuple(2);
      case 0x87:
        return tuple(3);
      case 't':
        return (void)(push(Kind::kTuple)->items = pop_to_mark());
      case ']':
        return (void)push(Kind::kList);
      case 'a':
        return extend(Kind::kList, {pop()});
      case 'e':
        return extend(Kind::kList, pop_to_mark());
      case '}':
        return (void)push(Kind::kDict);
      case 's':
        return set_item();
      case 'u':
        return extend(Kind::kDict, pop_to_mark());

      case 'q':
        return remember(read_unsigned<uint8_t>());
      case 'r':
        return remember(read_unsigned<uint32_t>());
      case 0x94:
        return remember(memo_.size());
      case 'h':
        return recall(read_unsigned<uint8_t>());
      case 'j':
        return recall(read_unsigned<uint32_t>());

      case 'c':
        return text_global();
      case 0x93:
        return stack_global();
      case 0x81:  // NEWOBJ: a class and its arguments
      case 'R':   // REDUCE: a function and its arguments
        return call();
      case 'b':
        return build();
      case 'Q':
        return persistent_id();
      default:
        fail(fmt::format("opcode 0x{:02x} is not one that checkpoints are written with", opcode));
    }
  }

  void protocol(uint8_t version) {
    if (version < 2 || version > kMaxProtocol) fail(fmt::format("expected pickle protocol 2 to 5, got {}", version));
  }

  void long_integer() {
    const size_t num_bytes = read_unsigned<uint8_t>();
    check(num_bytes <= 8, "expected an integer of at most 64 bits");
    const auto digits = read_text(num_bytes);
    const bool negative = num_bytes > 0 && (static_cast<uint8_t>(digits.back()) & 0x80) != 0;
    uint64_t value = negative ? ~uint64_t{0} : 0;
    for (size_t i = num_bytes; i-- > 0;) value = value << 8 | static_cast<uint8_t>(digits[i]);
    push_integer(Kind::kInt, static_cast<int64_t>(value));
  }

  void tuple(size_t size) {
    std::vector<const PickleValue*> items(size);
    for (size_t i = size; i-- > 0;) items[i] = pop();
    push(Kind::kTuple)->items = std::move(items);
  }

  void set_item() {
    const PickleValue* value = pop();
    const PickleValue* key = pop();
    extend(Kind::kDict, {key, value});
  }

  void extend(Kind kind, const std::vector<const PickleValue*>& items) {
    PickleValue* target = top();
    if (target->kind != kind)
      fail(fmt::format("expected {} to add to, got {}", kind_name(kind), kind_name(target->kind)));
    check(kind != Kind::kDict || items.size() % 2 == 0, "expected a value for each key");
    target->items.insert(target->items.end(), items.begin(), items.end());
  }

  void text_global() {
    std::string module(read_line());
    push_global(std::move(module) + ' ' + std::string(read_line()));
  }

  void stack_global() {
    const PickleValue* name = pop();
    const PickleValue* module = pop();
    check(name->kind == Kind::kString && module->kind == Kind::kString, "expected a global's module and name");
    push_global(module->text + ' ' + name->text);
  }

  void push_global(std::string global) {
    const bool known = global == kGetattr || knows_global_(global);
    if (!known) fail(fmt::format("the global '{}' is not one that checkpoints are written with; refused", global));
    push(Kind::kGlobal)->text = std::move(global);
  }

  void call() {
    const PickleValue* arguments = pop();
    const PickleValue* callee = pop();
    check(callee->kind == Kind::kGlobal && arguments->kind == Kind::kTuple, "expected a global and its arguments");
    if (callee->text == kGetattr) {
      const bool of_enum = arguments->items.size() == 2 && arguments->items[0]->kind == Kind::kGlobal &&
                           arguments->items[0]->text == kEnumOfDcp;
      check(of_enum, "the global 'builtins getattr' is not one that checkpoints are written with here; refused");
    }
    PickleValue* result = push(Kind::kCall);
    result->text = callee->text;
    result->items = arguments->items;
  }

  void build() {
    const PickleValue* state = pop();
    PickleValue* object = top();
    check(object->kind == Kind::kCall && !object->state, "expected an object without a state");
    check(state->kind == Kind::kDict || state->kind == Kind::kTuple, "expected a dict or tuple as an object's state");
    object->state = state;
  }

  void persistent_id() {
    const PickleValue* id = pop();
    push(Kind::kPersistentId)->items = {id};
  }

  void mark() {
    if (marks_.size() >= kMaxOpenMarks) fail(fmt::format("expected at most {} nested marks", kMaxOpenMarks));
    marks_.push_back(stack_.size());
  }

  void remember(uint64_t index) { memo_[index] = top(); }

  void recall(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) fail(fmt::format("memo {} was never written", index));
    stack_.push_back(found->second);
  }

  PickleValue* push(Kind kind) {
    if (values_.size() >= kMaxValues) fail(fmt::format("expected at most {} values", kMaxValues));
    PickleValue& value = values_.emplace_back();
    value.kind = kind;
    value.offset = file_offset_ + opcode_at_;
    stack_.push_back(&value);
    return &value;
  }

  void push_integer(Kind kind, int64_t integer) { push(kind)->integer = integer; }
  void push_string(std::string_view text) { push(Kind::kString)->text = text; }
  void push_bytes(std::string_view bytes) { push(Kind::kBytes)->text = bytes; }

  PickleValue* top() {
    check(stack_.size() > (marks_.empty() ? 0 : marks_.back()), "the stack is empty");
    return stack_.back();
  }

  PickleValue* pop() {
    PickleValue* value = top();
    stack_.pop_back();
    return value;
  }

  std::vector<const PickleValue*> pop_to_mark() {
    check(!marks_.empty(), "no mark is open");
    std::vector<const PickleValue*> items(stack_.begin() + static_cast<int64_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return items;
  }

  template <class T>
  T read_unsigned() {
    const auto raw = read_text(sizeof(T));
    T value;
    std::memcpy(&value, raw.data(), sizeof(T));  // pickles are little-endian, as are the machines of this project
    return value;
  }

  std::string_view read_text(uint64_t size) {
    if (size > bytes_.size() - position_)
      fail(fmt::format("expected {} more bytes, got {}", size, bytes_.size() - position_));
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + position_, size);
    position_ += size;
    return text;
  }

  std::string_view read_line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + position_, bytes_.size() - position_);
    const size_t size = rest.find('\n');
    check(size != std::string_view::npos, "expected a line end");
    position_ += size + 1;
    return rest.substr(0, size);
  }

  void check(bool condition, std::string_view message) const {
    if (!condition) fail(message);
  }
  [[noreturn]] void fail(std::string_view message) const {
    TORCH_CHECK_VALUE(false, name_, ": byte ", file_offset_ + opcode_at_, ": ", message);
    __builtin_unreachable();
  }

  std::span<const std::byte> bytes_;
  const std::string& name_;
  uint64_t file_offset_;
  Pickle::KnowsGlobal knows_global_;
  std::deque<PickleValue>& values_;

  size_t position_ = 0;
  size_t opcode_at_ = 0;
  bool stopped_ = false;
  std::vector<PickleValue*> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue*> memo_;
};

}  // namespace

Pickle::Pickle(std::span<const std::byte> bytes, std::string name, uint64_t file_offset, KnowsGlobal knows_global)
    : name_(std::move(name)) {
  root_ = Interpreter(bytes, name_, file_offset, knows_global, values_).run();
}

int64_t Pickle::integer(const PickleValue& value) const {
  if (value.kind != Kind::kInt) fail(value, fmt::format("expected an int, got {}", kind_name(value.kind)));
  return value.integer;
}

const std::string& Pickle::string(const PickleValue& value) const {
  if (value.kind != Kind::kString) fail(value, fmt::format("expected a str, got {}", kind_name(value.kind)));
  return value.text;
}

const std::vector<const PickleValue*>& Pickle::sequence(const PickleValue& value) const {
  if (value.kind != Kind::kTuple && value.kind != Kind::kList) {
    fail(value, fmt::format("expected a tuple or list, got {}", kind_name(value.kind)));
  }
  return value.items;
}

const std::vector<const PickleValue*>& Pickle::dict(const PickleValue& value) const {
  if (value.kind != Kind::kDict) fail(value, fmt::format("expected a dict, got {}", kind_name(value.kind)));
  return value.items;
}

const std::vector<const PickleValue*>& Pickle::call(const PickleValue& value, std::string_view global) const {
  if (value.kind != Kind::kCall || value.text != global) {
    fail(value,
         fmt::format("expected an object of '{}', got {}", global,
                     value.kind == Kind::kCall ? "one of '" + value.text + "'" : std::string(kind_name(value.kind))));
  }
  return value.items;
}

const PickleValue* Pickle::attribute(const PickleValue& value, std::string_view global, std::string_view name) const {
  call(value, global);
  if (!value.state) return nullptr;
  const auto& state = dict(*value.state);
  for (size_t i = 0; i + 1 < state.size(); i += 2) {
    if (string(*state[i]) == name) return state[i + 1];
  }
  return nullptr;
}

void Pickle::fail(const PickleValue& value, std::string_view message) const {
  TORCH_CHECK_VALUE(false, name_, ": byte ", value.offset, ": ", message);
  __builtin_unreachable();
}

}  // namespace titan::pickle
