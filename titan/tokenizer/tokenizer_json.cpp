#include "titan/tokenizer/tokenizer_json.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "titan/tokenizer/json_node.h"

namespace titan::tokenizer {
namespace {

void refuse_type(const JsonNode& node, std::string_view supported) {
  node.refuse(fmt::format("type '{}' is not supported; supported are {}", node.type(), supported));
}

// The nodes of a component: a Sequence's parts (`list_key`), Sequences inside resolved, or the component itself.
void flatten(const JsonNode& node, std::string_view list_key, std::vector<JsonNode>& parts) {
  if (node.type() != "Sequence") return parts.push_back(node);
  for (const JsonNode& part : node.at(list_key).elements()) flatten(part, list_key, parts);
}

std::vector<JsonNode> parts_of(const JsonNode& root, std::string_view key, std::string_view list_key) {
  std::vector<JsonNode> parts;
  if (const auto node = root.find(key)) flatten(*node, list_key, parts);
  return parts;
}

Normalizer read_normalizer(const JsonNode& root) {
  Normalizer normalizer;
  for (const JsonNode& part : parts_of(root, "normalizer", "normalizers")) {
    if (part.type() != "NFC") refuse_type(part, "NFC and Sequence");
    normalizer.nfc = true;
  }
  return normalizer;
}

SplitBehavior read_behavior(const JsonNode& node) {
  const std::string_view name = node.text();
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  node.expected("Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

Regex read_pattern(const JsonNode& node) {
  if (const auto text = node.find("String")) return Regex::literal(text->text());
  const JsonNode regex = node.at("Regex");
  try {
    return Regex(regex.text());
  } catch (const c10::ValueError& error) {
    regex.refuse(error.what_without_backtrace());
  }
}

void read_pre_tokenizer(const JsonNode& root, TokenizerDefinition& definition) {
  const std::vector<JsonNode> parts = parts_of(root, "pre_tokenizer", "pretokenizers");
  if (parts.empty() || parts.back().type() != "ByteLevel") {
    root.refuse("pre_tokenizer: must be ByteLevel or a Sequence that ends in it: only byte-level BPE is supported");
  }
  for (const JsonNode& part : parts) {
    if (&part == &parts.back()) {
      definition.byte_level = {part.flag("add_prefix_space", true), part.flag("use_regex", true)};
      part.flag("trim_offsets", true);  // must be a boolean; offsets are not made
    } else if (part.type() == "Split") {
      definition.splits.push_back(
          {read_pattern(part.at("pattern")), read_behavior(part.at("behavior")), part.flag("invert", false)});
    } else {
      refuse_type(part, "Split, Sequence and, in the last place, ByteLevel");
    }
  }
}

TemplatePiece read_template_piece(const JsonNode& node, const JsonNode& processor) {
  if (const auto sequence = node.find("Sequence")) {
    const JsonNode id = sequence->at("id");
    if (id.text() != "A") id.expected("\"A\", the only text there is");
    return {true, {}};
  }
  const std::string_view name = node.at("SpecialToken").at("id").text();
  const JsonNode token = processor.at("special_tokens").at(name);
  TemplatePiece piece;
  for (const JsonNode& id : token.at("ids").elements()) piece.ids.push_back(id.id());
  return piece;
}

PostProcessor read_post_processor(const JsonNode& root) {
  PostProcessor processor;
  for (const JsonNode& part : parts_of(root, "post_processor", "processors")) {
    if (part.type() == "ByteLevel") continue;
    if (part.type() != "TemplateProcessing") refuse_type(part, "TemplateProcessing, ByteLevel and Sequence");
    auto& pieces = processor.templates.emplace_back();
    for (const JsonNode& piece : part.at("single").elements()) pieces.push_back(read_template_piece(piece, part));
  }
  return processor;
}

bool read_decoder(const JsonNode& root) {
  const std::vector<JsonNode> parts = parts_of(root, "decoder", "decoders");
  for (const JsonNode& part : parts) {
    // What ByteLevel gives is one text already, so Fuse behind it changes nothing.
    if (part.type() == (&part == &parts.front() ? "ByteLevel" : "Fuse")) continue;
    refuse_type(part, "ByteLevel, Sequence and, behind ByteLevel, Fuse");
  }
  return !parts.empty();
}

AddedToken read_added_token(const JsonNode& node) {
  return {.content = std::string(node.at("content").text()),
          .single_word = node.at("single_word").boolean(),
          .lstrip = node.at("lstrip").boolean(),
          .rstrip = node.at("rstrip").boolean(),
          .normalized = node.at("normalized").boolean(),
          .special = node.at("special").boolean()};
}

std::pair<std::string, std::string> read_merge(const JsonNode& merges, size_t rank, simdjson::dom::element value) {
  const auto expected = [&]() {
    merges.refuse(fmt::format("rank {}: expected \"left right\" or [\"left\", \"right\"], got {}", rank,
                              std::string(simdjson::minify(value)).substr(0, 60)));
  };
  std::string_view text, left, right;
  simdjson::dom::array pair;
  if (!value.get(text)) {
    const size_t space = text.find(' ');
    if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) expected();
    return {std::string(text.substr(0, space)), std::string(text.substr(space + 1))};
  }
  if (value.get(pair) || pair.size() != 2 || pair.at(0).get(left) || pair.at(1).get(right)) expected();
  return {std::string(left), std::string(right)};
}

void refuse_unsupported(const JsonNode& model) {
  if (const auto type = model.find("type")) {
    if (type->text() != "BPE") refuse_type(model, "BPE");
  }
  if (const auto dropout = model.find("dropout")) {
    double value = 0;
    if (dropout->value().get(value) || value != 0) dropout->expected("null or 0: encoding must be the same each time");
  }
  for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const auto affix = model.find(key);
    if (affix && !affix->text().empty()) affix->expected("null or \"\": only byte-level BPE is supported");
  }
  if (model.flag("byte_fallback", false)) {
    model.refuse("byte_fallback: expected false: only byte-level BPE is supported, which needs none");
  }
}

// Vocabulary and merges are large: read without a JsonNode for each.
BpeDefinition read_model(const JsonNode& model) {
  refuse_unsupported(model);
  BpeDefinition definition;
  if (const auto unk_token = model.find("unk_token")) definition.unk_token = std::string(unk_token->text());
  definition.fuse_unk = model.flag("fuse_unk", false);
  definition.ignore_merges = model.flag("ignore_merges", false);

  const JsonNode vocab = model.at("vocab");
  for (const auto& [token, value] : vocab.object()) {
    int64_t id = 0;
    if (value.get(id) || id < 0 || id > std::numeric_limits<int32_t>::max())
      vocab.at(token).id();  // says what is wrong
    definition.vocab.emplace_back(token, static_cast<int32_t>(id));
  }

  const JsonNode merges = model.at("merges");
  simdjson::dom::array list;
  if (merges.value().get(list)) merges.expected("an array");
  for (const simdjson::dom::element merge : list) {
    definition.merges.push_back(read_merge(merges, definition.merges.size(), merge));
  }
  return definition;
}

// bos_token and its like: a string or an object with `content`.
std::optional<std::string> token_content(const JsonNode& root, std::string_view key) {
  const auto node = root.find(key);
  if (!node) return std::nullopt;
  return std::string(node->is_object() ? node->at("content").text() : node->text());
}

// The flags of a special token in tokenizer_config.json; TorchTitan's defaults where they are absent.
AddedToken special_token(std::string content, const JsonNode& node) {
  if (!node.is_object()) return {.content = std::move(content), .normalized = false, .special = true};
  return {.content = std::move(content),
          .single_word = node.flag("single_word", false),
          .lstrip = node.flag("lstrip", false),
          .rstrip = node.flag("rstrip", false),
          .normalized = node.flag("normalized", true),
          .special = true};
}

}  // namespace

TokenizerDefinition read_tokenizer_json(const std::filesystem::path& path) {
  const JsonFile file(path);
  const JsonNode root(file);
  for (const std::string_view key : {"truncation", "padding"}) {
    if (const auto node = root.find(key)) {
      node->refuse("must be null: it would change every document's ids; remove it from the file");
    }
  }
  TokenizerDefinition definition;
  definition.normalizer = read_normalizer(root);
  read_pre_tokenizer(root, definition);
  definition.post_processor = read_post_processor(root);
  definition.decodes_bytes = read_decoder(root);
  if (const auto tokens = root.find("added_tokens")) {
    for (const JsonNode& token : tokens->elements()) definition.added_tokens.push_back(read_added_token(token));
  }
  definition.model = read_model(root.at("model"));
  return definition;
}

TokenizerConfig read_tokenizer_config(const std::filesystem::path& path) {
  const JsonFile file(path);
  const JsonNode root(file);
  TokenizerConfig config;
  config.bos_token = token_content(root, "bos_token");
  config.eos_token = token_content(root, "eos_token");
  for (const std::string_view key :
       {"bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token"}) {
    if (auto content = token_content(root, key)) {
      config.special_tokens.push_back(special_token(*std::move(content), root.at(key)));
    }
  }
  if (const auto decoder = root.find("added_tokens_decoder")) {
    for (const auto& [id, token] : decoder->members()) {
      if (!token.is_object()) continue;
      const auto content = token.find("content");
      if (content) config.special_tokens.push_back(special_token(std::string(content->text()), token));
    }
  }
  return config;
}

}  // namespace titan::tokenizer
