// A value in a JSON file that knows its place there, so that whatever is wrong with it is said in one line:
//   tokenizer.json: model.dropout: expected null or 0, got 0.1
#pragma once

#include <simdjson.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace titan::tokenizer {

// A parsed file. Nodes are views of it.
class JsonFile {
 public:
  // Throws c10::ValueError if `path` cannot be read or is not JSON.
  explicit JsonFile(std::filesystem::path path);

  simdjson::dom::element root() const { return root_; }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
  simdjson::dom::parser parser_;
  simdjson::dom::element root_;
};

class JsonNode {
 public:
  explicit JsonNode(const JsonFile& file) : file_(&file), value_(file.root()) {}

  // A member of this object: nothing where it is absent or null. `at` throws instead.
  std::optional<JsonNode> find(std::string_view key) const;
  JsonNode at(std::string_view key) const;

  // Each throws c10::ValueError if this is something else.
  std::string_view text() const;
  bool boolean() const;
  int32_t id() const;  // an integer from 0 to 2^31 - 1
  simdjson::dom::object object() const;
  std::vector<JsonNode> elements() const;
  std::vector<std::pair<std::string_view, JsonNode>> members() const;

  bool is_object() const { return value_.is_object(); }
  bool is_text() const { return value_.is_string(); }

  // "type" of this object.
  std::string_view type() const { return at("type").text(); }

  // The boolean `key`, or `fallback` where it is absent or null.
  bool flag(std::string_view key, bool fallback) const;

  // Throws c10::ValueError: file, place, `what`.
  [[noreturn]] void refuse(std::string_view what) const;

  // Throws c10::ValueError: file, place, what was expected, and this value.
  [[noreturn]] void expected(std::string_view what) const;

  simdjson::dom::element value() const { return value_; }

 private:
  JsonNode(const JsonFile* file, simdjson::dom::element value, std::string place)
      : file_(file), value_(value), place_(std::move(place)) {}
  std::string place_of(std::string_view key) const;

  const JsonFile* file_;
  simdjson::dom::element value_;
  std::string place_;
};

}  // namespace titan::tokenizer
