#include "titan/data/json_text.h"

#include <simdjson.h>

#include <nlohmann/json.hpp>

namespace titan::data {
namespace {

constexpr std::string_view kNoField = "has no field `text`";
constexpr std::string_view kNoObject = "is not a JSON object";
constexpr std::string_view kNoString = "has a field `text` that is not a string";
constexpr std::string_view kNoUtf8 = "is not UTF-8";

std::string no_json(std::string_view reason) { return std::string("is not JSON: ").append(reason); }

}  // namespace

struct JsonText::Parser {
  simdjson::dom::parser dom;
  std::string text;  // of a line that went through the slow path
};

JsonText::JsonText() : parser_(std::make_unique<Parser>()) {}
JsonText::~JsonText() = default;

JsonText::Result JsonText::read(std::string& line) {
  // simdjson reads past the end, and need not copy where there is room.
  line.reserve(line.size() + simdjson::SIMDJSON_PADDING);
  simdjson::dom::element document;
  const simdjson::error_code error = parser_->dom.parse(line.data(), line.size(), false).get(document);

  // A number that no 64-bit type holds is JSON all the same; only simdjson does not take it.
  if (error == simdjson::NUMBER_ERROR) {
    const nlohmann::json slow = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (slow.is_discarded()) return {{}, no_json(simdjson::error_message(error))};
    if (!slow.is_object()) return {{}, std::string(kNoObject)};
    const auto field = slow.find("text");
    if (field == slow.end()) return {{}, std::string(kNoField)};
    if (!field->is_string()) return {{}, std::string(kNoString)};
    parser_->text = field->get<std::string>();
    return {parser_->text, {}};
  }
  if (error == simdjson::UTF8_ERROR) return {{}, std::string(kNoUtf8)};
  if (error) return {{}, no_json(simdjson::error_message(error))};

  simdjson::dom::object object;
  if (document.get(object)) return {{}, std::string(kNoObject)};
  simdjson::dom::element field;
  if (object["text"].get(field)) return {{}, std::string(kNoField)};
  std::string_view text;
  if (field.get(text)) return {{}, std::string(kNoString)};
  return {text, {}};
}

bool is_utf8(std::string_view bytes) { return simdjson::validate_utf8(bytes.data(), bytes.size()); }

}  // namespace titan::data
