// The document in a line of a JSONL file: its field `text`.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace titan::data {

// One per thread: holds the parser's buffers.
class JsonText {
 public:
  JsonText();
  ~JsonText();
  JsonText(const JsonText&) = delete;
  JsonText& operator=(const JsonText&) = delete;

  struct Result {
    std::string_view text;  // valid until the next call, and no longer than `line`
    std::string problem;    // what is wrong with the line; empty: nothing
  };

  // `line` keeps its content but may be given more capacity. Other fields may hold any JSON.
  Result read(std::string& line);

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

bool is_utf8(std::string_view bytes);

}  // namespace titan::data
