#define PCRE2_CODE_UNIT_WIDTH 8
#include "titan/tokenizer/regex.h"

#include <c10/util/Exception.h>
#include <pcre2.h>

#include <string>
#include <utility>

#include "titan/tokenizer/oniguruma_pattern.h"
#include "titan/tokenizer/unicode_version.h"
#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

struct FreePcre2 {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};

template <class T>
using Owned = std::unique_ptr<T, FreePcre2>;

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(error, text, sizeof text);
  return reinterpret_cast<const char*>(text);
}

PCRE2_SPTR pointer(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data() ? text.data() : "");  // PCRE2 takes no null for an empty text
}

pcre2_code* compile(std::string_view pattern, uint32_t options, std::string_view shown) {
  const Owned<pcre2_compile_context> context(pcre2_compile_context_create(nullptr));
  TORCH_CHECK(context, "PCRE2: out of memory");
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(pointer(pattern), pattern.size(), options, &error, &offset, context.get());
  TORCH_CHECK_VALUE(code != nullptr, "regular expression '", shown, "': PCRE2 does not take it: ", message_of(error));
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without JIT (a hardened kernel) pcre2_match interprets
  return code;
}

}  // namespace

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

struct Regex::Scratch::State {
  Owned<pcre2_match_data> data{pcre2_match_data_create(1, nullptr)};
  Owned<pcre2_match_context> context{pcre2_match_context_create(nullptr)};
  std::string older_characters;
  Owned<pcre2_jit_stack> stack{pcre2_jit_stack_create(32 * 1024, 16 * 1024 * 1024, nullptr)};
};

Regex::Scratch::Scratch() : state_(std::make_unique<State>()) {
  TORCH_CHECK(state_->data && state_->context && state_->stack, "PCRE2: out of memory");
  pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
}
Regex::Scratch::Scratch(Scratch&&) noexcept = default;
Regex::Scratch& Regex::Scratch::operator=(Scratch&&) noexcept = default;
Regex::Scratch::~Scratch() = default;

Regex::Regex(Code code, bool is_literal) : code_(std::move(code)), is_literal_(is_literal) {}

Regex::Regex(std::string_view pattern)
    : code_(compile(to_pcre2(pattern), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, pattern)) {}

Regex Regex::literal(std::string_view text) {
  return Regex(Code(compile(text, PCRE2_UTF | PCRE2_LITERAL, text)), /*is_literal=*/true);
}

// What PCRE2 gets to see of `text`: the same places, other characters. [Note: Unicode versions]
std::string_view Regex::shown(std::string_view text, Scratch& scratch) const {
  return is_literal_ ? text : with_older_characters(text, scratch.state_->older_characters);
}

bool Regex::find(std::string_view text, size_t from, Scratch& scratch, Span& match) const {
  Scratch::State& state = *scratch.state_;
  int result = pcre2_match(code_.get(), pointer(text), text.size(), from, PCRE2_NO_UTF_CHECK, state.data.get(),
                           state.context.get());
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter keeps its stack on the heap
    result = pcre2_match(code_.get(), pointer(text), text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         state.data.get(), state.context.get());
  }
  if (result == PCRE2_ERROR_NOMATCH) return false;
  TORCH_CHECK(result >= 0, "regular expression of the tokenizer: PCRE2 gave up on ", text.size(),
              " bytes of text: ", message_of(result));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.data.get());
  match = {bounds[0], bounds[1]};
  return true;
}

bool Regex::matches(std::string_view text, Scratch& scratch) const {
  Span match;
  return find(shown(text, scratch), 0, scratch, match);
}

void Regex::find_all(std::string_view text, Scratch& scratch, std::vector<Span>& matches) const {
  matches.clear();
  text = shown(text, scratch);
  size_t from = 0;
  Span match;
  while (from <= text.size() && find(text, from, scratch, match)) {
    const bool empty_behind_last = match.begin == match.end && !matches.empty() && matches.back().end == match.end;
    if (empty_behind_last) {
      from += from < text.size() ? static_cast<size_t>(first_code_point(text.substr(from)).num_bytes) : 1;
    } else {
      matches.push_back(match);
      from = match.end;
    }
  }
}

}  // namespace titan::tokenizer
