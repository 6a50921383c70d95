// One compiled regular expression of a tokenizer.json, run by PCRE2's JIT. Characters have the properties that Unicode
// 16 gives them, see unicode_version.h.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace titan::tokenizer {

// Half-open range of bytes.
struct Span {
  size_t begin = 0, end = 0;
};

class Regex {
 public:
  // What matching needs to write to; one per thread, for any number of expressions.
  class Scratch {
   public:
    Scratch();
    Scratch(Scratch&&) noexcept;
    Scratch& operator=(Scratch&&) noexcept;
    ~Scratch();

   private:
    friend class Regex;
    struct State;
    std::unique_ptr<State> state_;
  };

  // pattern: in Oniguruma's syntax, see oniguruma_pattern.h. Throws c10::ValueError that quotes it and says what is
  // wrong.
  explicit Regex(std::string_view pattern);

  // Matches exactly `text`.
  static Regex literal(std::string_view text);

  // All matches in order, from left to right, none overlapping. An empty match right behind the last match does not
  // count, as in Oniguruma's iterators. text: well-formed UTF-8. Throws c10::Error where PCRE2 gives up.
  void find_all(std::string_view text, Scratch& scratch, std::vector<Span>& matches) const;

  // Whether `text` has a match.
  bool matches(std::string_view text, Scratch& scratch) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  using Code = std::unique_ptr<pcre2_real_code_8, Free>;
  Regex(Code code, bool is_literal);

  std::string_view shown(std::string_view text, Scratch& scratch) const;
  bool find(std::string_view text, size_t from, Scratch& scratch, Span& match) const;

  Code code_;
  bool is_literal_ = false;
};

}  // namespace titan::tokenizer
