// What a tokenizer.json puts around a text's ids: the `single` templates of its TemplateProcessing, for instance
// <|begin_of_text|> $A. (Its ByteLevel post-processor moves offsets only, which we do not have.)
#pragma once

#include <cstdint>
#include <vector>

namespace titan::tokenizer {

struct TemplatePiece {
  bool is_text = false;      // the text's ids stand here, or else:
  std::vector<int32_t> ids;  // a special token's
};

struct PostProcessor {
  std::vector<std::vector<TemplatePiece>> templates;  // each is applied to what the one before it made

  void apply(std::vector<int32_t>& ids) const {
    for (const auto& pieces : templates) {
      std::vector<int32_t> result;
      for (const TemplatePiece& piece : pieces) {
        const std::vector<int32_t>& source = piece.is_text ? ids : piece.ids;
        result.insert(result.end(), source.begin(), source.end());
      }
      ids = std::move(result);
    }
  }
};

}  // namespace titan::tokenizer
