#include "titan/tokenizer/oniguruma_pattern.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>
#include <vector>

namespace titan::tokenizer {
namespace {

using Translation = std::pair<std::string_view, std::string_view>;

constexpr std::string_view kWord = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}";  // what goes between brackets for \w

// General categories, which PCRE2 knows by their short names only. Oniguruma ignores case, '_', '-' and spaces.
constexpr Translation kCategories[] = {
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"casedletter", "L&"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
    {"other", "C"},
    {"control", "Cc"},
    {"format", "Cf"},
    {"surrogate", "Cs"},
    {"privateuse", "Co"},
    {"unassigned", "Cn"},
};

// Scripts that tokenizers' patterns name. PCRE2 would take the bare name for Script_Extensions, Oniguruma for Script.
constexpr std::string_view kScripts[] = {
    "arabic",    "armenian", "bengali",  "bopomofo", "common", "cyrillic", "devanagari", "ethiopic",
    "georgian",  "greek",    "gujarati", "gurmukhi", "han",    "hangul",   "hebrew",     "hiragana",
    "inherited", "kannada",  "katakana", "khmer",    "lao",    "latin",    "malayalam",  "mongolian",
    "myanmar",   "oriya",    "sinhala",  "tamil",    "telugu", "thai",     "tibetan",
};

// POSIX classes inside brackets: [:name:] and, where the right side is one property, [:^name:]. (alpha, alnum and lower
// would differ in a few characters whose properties changed after PCRE2's version of Unicode.)
constexpr Translation kPosixClasses[] = {
    {"digit", "\\p{Nd}"},        {"punct", "\\p{P}\\p{S}"}, {"space", "\\p{White_Space}"},
    {"upper", "\\p{Uppercase}"}, {"word", kWord},
};

template <size_t n>
const Translation* find(const Translation (&table)[n], std::string_view name) {
  const auto* entry = std::find_if(table, table + n, [&](const Translation& t) { return t.first == name; });
  return entry == table + n ? nullptr : entry;
}

class Translator {
 public:
  explicit Translator(std::string_view pattern) : pattern_(pattern) {}

  std::string translate() {
    while (!done()) next();
    return std::move(out_);
  }

 private:
  bool done() const { return at_ >= pattern_.size(); }
  char peek(size_t ahead = 0) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  char take() { return pattern_[at_++]; }
  bool next_is(std::string_view text) const { return pattern_.substr(at_).starts_with(text); }

  [[noreturn]] void refuse(std::string_view what) const {
    TORCH_CHECK_VALUE(false, "regular expression '", pattern_, "': ", what, " at byte ", at_, " is not supported");
    std::abort();
  }

  void next() {
    switch (peek()) {
      case '(':
        return open_group();
      case ')':
        return close_group();
      case '[':
        begin_atom();
        return bracket();
      case '{':
        return interval();
      case '\\':
        begin_atom();
        return escape(/*in_bracket=*/false);
      case '?':
      case '*':
      case '+':  // quantifiers, or the '+' that makes one possessive: the same in both
        out_ += take();
        return;
      default:
        begin_atom();
        out_ += take();
        while ((peek() & 0xC0) == 0x80) out_ += take();  // the rest of a character beyond ASCII
    }
  }

  void begin_atom() { atom_ = out_.size(); }

  void open_group() {
    if (next_is("(*")) refuse("a callout");
    if (next_is("(?~")) refuse("an absence operator");
    groups_.push_back(out_.size());
    out_ += take();
    if (peek() != '?') return;
    out_ += take();
    if (peek() == '#') {
      while (!done() && peek() != ')') out_ += take();
      return;
    }
    if (peek() != '-' && !std::islower(static_cast<unsigned char>(peek()))) return;
    for (; !done() && peek() != ':' && peek() != ')'; ++at_) {
      const char option = peek();
      if (option != 'i' && option != 'm' && option != 'x' && option != '-') refuse("a group option");
      out_ += option == 'm' ? 's' : option;  // Ruby's m: the dot matches newlines too
    }
    // (?i) alone opens a group up to the end of the enclosing one: a(?i)b|c is a(?i:b|c). At the start it is the same.
    if (peek() == ')' && groups_.back() != 0) refuse("a group option in the middle");
  }

  void close_group() {
    out_ += take();
    if (groups_.empty()) return;  // PCRE2 says what is wrong
    atom_ = groups_.back();
    groups_.pop_back();
  }

  // {n}, {n,}, {n,m}, {,m}. What follows reads differently: a '+' repeats the whole in Oniguruma, and so does a '?'
  // after {n}, where PCRE2 would see a possessive and a lazy quantifier.
  void interval() {
    const size_t end = pattern_.find('}', at_);
    std::string_view inside = end == std::string_view::npos ? "" : pattern_.substr(at_ + 1, end - at_ - 1);
    const size_t comma = inside.find(',');
    const bool numbers = !inside.empty() && inside != "," && inside.find_first_not_of("0123456789,") == inside.npos &&
                         inside.find(',', comma == inside.npos ? inside.size() : comma + 1) == inside.npos;
    if (!numbers) {  // a plain character in both
      begin_atom();
      out_ += '\\';
      out_ += take();
      return;
    }
    out_ += fmt::format("{{{}{}}}", comma == 0 ? "0" : "", inside);
    at_ = end + 1;
    if (peek() == '+' || (peek() == '?' && comma == inside.npos)) {
      out_.insert(atom_, "(?:");
      out_ += ')';
    }
  }

  void escape(bool in_bracket) {
    const char kind = peek(1);
    if (kind == '\0') refuse("a backslash at the end");
    const auto put = [&](std::string_view translation) {
      at_ += 2;
      out_ += translation;
    };
    const auto put_class = [&](std::string_view members, bool negated) {
      if (in_bracket && negated) refuse("a negated class inside brackets");
      put(in_bracket ? std::string(members) : fmt::format("[{}{}]", negated ? "^" : "", members));
    };
    switch (kind) {
      case 's':
        return put("\\p{White_Space}");
      case 'S':
        return put("\\P{White_Space}");
      case 'w':
        return put_class(kWord, false);
      case 'W':
        return put_class(kWord, true);
      case 'h':
        return put_class("0-9a-fA-F", false);
      case 'H':
        return put_class("0-9a-fA-F", true);
      case 'v':
        return put("\\x0b");
      case 'b':
        if (in_bracket) return put("\\x08");
        return put(fmt::format("(?:(?<=[{0}])(?![{0}])|(?<![{0}])(?=[{0}]))", kWord));
      case 'B':
        if (in_bracket) refuse("\\B inside brackets");
        return put(fmt::format("(?:(?<=[{0}])(?=[{0}])|(?<![{0}])(?![{0}]))", kWord));
      case 'p':
      case 'P':
        return property();
      case 'u':
        return code_point();
      case 'x':
        if (peek(2) != '{' && peek(2) >= '8') refuse("a raw byte");
        return put("\\x");
      case 'C':
      case 'M':
      case 'N':
      case 'O':
      case 'Q':
      case 'y':
      case 'Y':
        refuse(fmt::format("\\{}", kind));
      default:
        return put(pattern_.substr(at_, 2));
    }
  }

  // \uHHHH
  void code_point() {
    const std::string_view digits = pattern_.substr(at_ + 2, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != digits.npos) refuse("\\u");
    out_ += fmt::format("\\x{{{}}}", digits);
    at_ += 6;
  }

  // \p{Name}, \p{^Name}
  void property() {
    const size_t end = pattern_.find('}', at_);
    if (peek(2) != '{' || end == std::string_view::npos) refuse("a property without braces");
    std::string name;
    for (const char c : pattern_.substr(at_ + 3, end - at_ - 3)) {
      if (c == '_' || c == '-' || c == ' ') continue;
      name += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
    const bool caret = name.starts_with('^');
    if (caret) name.erase(0, 1);
    if (name.empty() || name.find_first_of("^:=&") != name.npos) refuse("a property of that form");
    if (const Translation* category = find(kCategories, name)) {
      name = category->second;
    } else if (std::find(std::begin(kScripts), std::end(kScripts), name) != std::end(kScripts)) {
      name = fmt::format("sc:{}", name);
    } else if (name.size() > 2) {
      // Another script's bare name would be Script_Extensions.
      if (name != "uppercase" && name != "whitespace" && name != "any") refuse("this property");
    } else {
      name[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(name[0])));
    }
    out_ += fmt::format("\\{}{{{}{}}}", peek(1), caret ? "^" : "", name);
    at_ = end + 1;
  }

  void bracket() {
    out_ += take();
    if (peek() == '^') out_ += take();
    if (peek() == ']') {  // the first place: a plain character in both
      out_ += "\\]";
      ++at_;
    }
    while (!done() && peek() != ']') {
      if (peek() == '\\') {
        escape(/*in_bracket=*/true);
      } else if (next_is("[:")) {
        posix_class();
      } else if (peek() == '[') {
        refuse("a bracket inside brackets");
      } else if (next_is("&&")) {
        refuse("an intersection");
      } else {
        out_ += take();
      }
    }
    if (done()) refuse("a bracket without its end");
    out_ += take();
  }

  void posix_class() {
    const size_t end = pattern_.find(":]", at_);
    if (end == std::string_view::npos) refuse("a bracket inside brackets");
    std::string_view name = pattern_.substr(at_ + 2, end - at_ - 2);
    const bool negated = name.starts_with('^');
    if (negated) name.remove_prefix(1);
    const Translation* entry = find(kPosixClasses, name);
    const bool one_property = entry && entry->second.rfind("\\p") == 0;  // the last one is the first one
    if (!entry || (negated && !one_property)) refuse("this POSIX class");
    out_ += negated ? fmt::format("\\P{}", entry->second.substr(2)) : std::string(entry->second);
    at_ = end + 2;
  }

  std::string_view pattern_;
  size_t at_ = 0;
  std::string out_;
  size_t atom_ = 0;             // where in out_ the last atom begins: what a quantifier repeats
  std::vector<size_t> groups_;  // where in out_ the open groups begin
};

}  // namespace

std::string to_pcre2(std::string_view pattern) { return Translator(pattern).translate(); }

}  // namespace titan::tokenizer
