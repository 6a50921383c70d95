#include "titan/tokenizer/pre_tokenizer.h"

#include <utility>

namespace titan::tokenizer {
namespace {

// Radford et al. 2019, encoder.py: contractions, then runs of letters, of digits and of anything else with at most one
// space before them, then white space; its last character stays with the next word.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct Part {
  Span span;
  bool matches;
};

// Covers `text` with the matches and what lies between them.
std::vector<Part> parts_of(std::string_view text, const std::vector<Span>& matches, bool invert) {
  std::vector<Part> parts;
  parts.reserve(matches.size() * 2 + 1);
  size_t end = 0;
  for (const Span& match : matches) {
    if (end != match.begin) parts.push_back({{end, match.begin}, invert});
    parts.push_back({match, !invert});
    end = match.end;
  }
  if (end != text.size()) parts.push_back({{end, text.size()}, invert});
  return parts;
}

// The spans that `behavior` makes of the parts. A part joins its neighbour where that one is a different kind.
std::vector<Span> join(const std::vector<Part>& parts, SplitBehavior behavior) {
  std::vector<Span> spans;
  spans.reserve(parts.size());
  bool previous_matches = false;
  for (const Part& part : parts) {
    const bool joins =
        behavior == SplitBehavior::kContiguous ? part.matches == previous_matches : part.matches && !previous_matches;
    previous_matches = part.matches;
    if (joins && !spans.empty()) {
      spans.back().end = part.span.end;
    } else {
      spans.push_back(part.span);
    }
  }
  return spans;
}

// As join, from the right: a match joins the piece behind it.
std::vector<Span> join_with_next(const std::vector<Part>& parts) {
  std::vector<Span> spans;
  spans.reserve(parts.size());
  bool previous_matches = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    const bool joins = part->matches && !previous_matches;
    previous_matches = part->matches;
    if (joins && !spans.empty()) {
      spans.back().begin = part->span.begin;
    } else {
      spans.push_back(part->span);
    }
  }
  return {spans.rbegin(), spans.rend()};
}

void split_piece(std::string_view piece, const SplitStep& step, PreTokenizer::Scratch& scratch,
                 std::vector<std::string_view>& pieces) {
  const auto emit = [&](const Span& span) {
    if (span.begin < span.end) pieces.push_back(piece.substr(span.begin, span.end - span.begin));
  };
  step.pattern.find_all(piece, scratch.regex, scratch.matches);
  // The usual case, without a detour: matches and what lies between them, each by itself.
  if (step.behavior == SplitBehavior::kIsolated) {
    size_t end = 0;
    for (const Span& match : scratch.matches) {
      emit({end, match.begin});
      emit(match);
      end = match.end;
    }
    return emit({end, piece.size()});
  }
  const std::vector<Part> parts = parts_of(piece, scratch.matches, step.invert);
  if (step.behavior == SplitBehavior::kRemoved) {
    for (const Part& part : parts) {
      if (!part.matches) emit(part.span);
    }
    return;
  }
  const bool with_next = step.behavior == SplitBehavior::kMergedWithNext;
  for (const Span& span : with_next ? join_with_next(parts) : join(parts, step.behavior)) emit(span);
}

void split_pieces(const SplitStep& step, PreTokenizer::Scratch& scratch) {
  scratch.next_pieces.clear();
  for (const std::string_view piece : scratch.pieces) split_piece(piece, step, scratch, scratch.next_pieces);
  std::swap(scratch.pieces, scratch.next_pieces);
}

void add_prefix_spaces(PreTokenizer::Scratch& scratch) {
  for (std::string_view& piece : scratch.pieces) {
    if (!piece.starts_with(' ')) piece = scratch.prefixed.emplace_back(" ").append(piece);
  }
}

}  // namespace

PreTokenizer::PreTokenizer(std::vector<SplitStep> splits, ByteLevelStep byte_level)
    : splits_(std::move(splits)), add_prefix_space_(byte_level.add_prefix_space) {
  if (byte_level.use_regex) gpt2_.emplace(SplitStep{Regex(kGpt2Pattern), SplitBehavior::kIsolated, false});
}

const std::vector<std::string_view>& PreTokenizer::split(std::string_view text, Scratch& scratch) const {
  scratch.pieces.clear();
  scratch.prefixed.clear();
  if (!text.empty()) scratch.pieces.push_back(text);
  for (const SplitStep& step : splits_) split_pieces(step, scratch);
  if (add_prefix_space_) add_prefix_spaces(scratch);
  if (gpt2_) split_pieces(*gpt2_, scratch);
  return scratch.pieces;
}

}  // namespace titan::tokenizer
