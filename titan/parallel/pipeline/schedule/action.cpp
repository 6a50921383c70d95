#include "titan/parallel/pipeline/schedule/action.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

namespace titan::pipeline {
namespace {

struct Word {
  ActionKind kind;
  std::string_view text;
  bool has_microbatch;
};

constexpr std::array kWords{
    Word{ActionKind::kForward, "F", true},
    Word{ActionKind::kBackwardInput, "I", true},
    Word{ActionKind::kBackwardWeight, "W", true},
    Word{ActionKind::kFullBackward, "B", true},
    Word{ActionKind::kOverlap, "OVERLAP_F_B", false},
    Word{ActionKind::kSendForward, "SEND_F", true},
    Word{ActionKind::kRecvForward, "RECV_F", true},
    Word{ActionKind::kSendBackward, "SEND_B", true},
    Word{ActionKind::kRecvBackward, "RECV_B", true},
    Word{ActionKind::kUnshard, "UNSHARD", false},
    Word{ActionKind::kReshard, "RESHARD", false},
    Word{ActionKind::kReduceGrad, "REDUCE_GRAD", false},
};

const Word& word_of(ActionKind kind) {
  const auto* const word = std::find_if(kWords.begin(), kWords.end(), [&](const Word& w) { return w.kind == kind; });
  TORCH_INTERNAL_ASSERT(word != kWords.end());
  return *word;
}

std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r\n";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// The number that `text` consists of, if it is one of at most 9 digits.
std::optional<int64_t> number_in(std::string_view text) {
  constexpr size_t kMostDigits = 9;
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (text.empty() || text.size() > kMostDigits || !std::all_of(text.begin(), text.end(), is_digit)) return {};
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// "2F0" and the like: a stage, a word, and a microbatch where the word has one. Nothing if `text` is none of them.
std::optional<Action> parse_single(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789";
  const size_t word_begin = text.find_first_not_of(kDigits);
  if (word_begin == std::string_view::npos) return {};
  const size_t word_end = text.find_last_not_of(kDigits) + 1;
  const std::string_view name = text.substr(word_begin, word_end - word_begin);
  const auto* const word = std::find_if(kWords.begin(), kWords.end(), [&](const Word& w) { return w.text == name; });
  if (word == kWords.end() || word->kind == ActionKind::kOverlap) return {};

  const std::optional<int64_t> stage = number_in(text.substr(0, word_begin));
  const std::optional<int64_t> microbatch = number_in(text.substr(word_end));
  const bool ends_well = word->has_microbatch ? microbatch.has_value() : word_end == text.size();
  if (!stage || !ends_well) return {};
  return Action{*stage, word->kind, microbatch.value_or(Action::kNone), {}};
}

// "(0F1;1B0)OVERLAP_F_B".
std::optional<Action> parse_overlap(std::string_view text) {
  const size_t close = text.find(')');
  const size_t semicolon = text.find(';');
  if (close == std::string_view::npos || semicolon > close) return {};
  if (without_blanks(text.substr(close + 1)) != word_of(ActionKind::kOverlap).text) return {};
  std::optional<Action> forward = parse_single(without_blanks(text.substr(1, semicolon - 1)));
  std::optional<Action> backward = parse_single(without_blanks(text.substr(semicolon + 1, close - semicolon - 1)));
  if (!forward || forward->kind != ActionKind::kForward) return {};
  if (!backward || backward->kind != ActionKind::kFullBackward) return {};
  return overlap(std::move(*forward), std::move(*backward));
}

}  // namespace

bool Action::operator==(const Action& other) const {
  return stage == other.stage && kind == other.kind && microbatch == other.microbatch && parts == other.parts;
}

Action overlap(Action forward, Action backward) {
  return {Action::kNone, ActionKind::kOverlap, Action::kNone, {std::move(forward), std::move(backward)}};
}

bool is_compute(ActionKind kind) {
  using enum ActionKind;
  return kind == kForward || kind == kBackwardInput || kind == kBackwardWeight || kind == kFullBackward ||
         kind == kOverlap;
}

std::span<const Action> parts_of(const Action& action) {
  if (action.kind == ActionKind::kOverlap) return action.parts;
  return {&action, 1};
}

std::string to_string(const Action& action) {
  const std::string word(word_of(action.kind).text);
  if (action.kind == ActionKind::kOverlap) {
    return "(" + to_string(action.parts.at(0)) + ";" + to_string(action.parts.at(1)) + ")" + word;
  }
  const std::string microbatch = action.microbatch == Action::kNone ? "" : std::to_string(action.microbatch);
  return std::to_string(action.stage) + word + microbatch;
}

Action parse_action(std::string_view text) {
  const std::string_view trimmed = without_blanks(text);
  const std::optional<Action> action = trimmed.starts_with('(') ? parse_overlap(trimmed) : parse_single(trimmed);
  TORCH_CHECK_VALUE(action, "expected an action such as 2F0, 1UNSHARD or (0F1;1B0)OVERLAP_F_B, got \"", trimmed, "\"");
  return *action;
}

}  // namespace titan::pipeline
