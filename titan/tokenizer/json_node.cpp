#include "titan/tokenizer/json_node.h"

#include <c10/util/Exception.h>
#include <fmt/format.h>

#include <limits>
#include <utility>

namespace titan::tokenizer {
namespace {

// A value short enough for an error line.
std::string shown(simdjson::dom::element value) {
  std::string text = simdjson::minify(value);
  constexpr size_t kMax = 60;
  if (text.size() <= kMax) return text;
  size_t end = kMax;
  while (end > 0 && (text[end] & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

}  // namespace

JsonFile::JsonFile(std::filesystem::path path) : path_(std::move(path)) {
  simdjson::padded_string bytes;
  const auto read_error = simdjson::padded_string::load(path_.string()).get(bytes);
  TORCH_CHECK_VALUE(!read_error, path_.string(), ": cannot be read: ", simdjson::error_message(read_error));
  const auto error = parser_.parse(bytes).get(root_);
  TORCH_CHECK_VALUE(!error, path_.string(), ": is not JSON: ", simdjson::error_message(error));
}

std::string JsonNode::place_of(std::string_view key) const {
  return place_.empty() ? std::string(key) : fmt::format("{}.{}", place_, key);
}

std::optional<JsonNode> JsonNode::find(std::string_view key) const {
  simdjson::dom::element value;
  if (object().at_key(key).get(value) || value.is_null()) return std::nullopt;
  return JsonNode(file_, value, place_of(key));
}

JsonNode JsonNode::at(std::string_view key) const {
  if (auto node = find(key)) return *std::move(node);
  refuse(fmt::format("'{}' is missing", key));
}

std::string_view JsonNode::text() const {
  std::string_view text;
  if (value_.get(text)) expected("a string");
  return text;
}

bool JsonNode::boolean() const {
  bool boolean = false;
  if (value_.get(boolean)) expected("true or false");
  return boolean;
}

int32_t JsonNode::id() const {
  int64_t id = 0;
  if (value_.get(id) || id < 0 || id > std::numeric_limits<int32_t>::max()) expected("an id from 0 to 2147483647");
  return static_cast<int32_t>(id);
}

simdjson::dom::object JsonNode::object() const {
  simdjson::dom::object object;
  if (value_.get(object)) expected("an object");
  return object;
}

std::vector<JsonNode> JsonNode::elements() const {
  simdjson::dom::array array;
  if (value_.get(array)) expected("an array");
  std::vector<JsonNode> nodes;
  for (const simdjson::dom::element element : array) {
    nodes.push_back(JsonNode(file_, element, fmt::format("{}[{}]", place_, nodes.size())));
  }
  return nodes;
}

std::vector<std::pair<std::string_view, JsonNode>> JsonNode::members() const {
  std::vector<std::pair<std::string_view, JsonNode>> nodes;
  for (const auto& [key, value] : object()) nodes.emplace_back(key, JsonNode(file_, value, place_of(key)));
  return nodes;
}

bool JsonNode::flag(std::string_view key, bool fallback) const {
  const auto node = find(key);
  return node ? node->boolean() : fallback;
}

void JsonNode::refuse(std::string_view what) const {
  TORCH_CHECK_VALUE(false, file_->path().string(), ": ", place_, place_.empty() ? "" : ": ", what);
  std::abort();
}

void JsonNode::expected(std::string_view what) const {
  refuse(fmt::format("expected {}, got {}", what, shown(value_)));
}

}  // namespace titan::tokenizer
