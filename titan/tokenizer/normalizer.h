// What is done to text before it is split: nothing, or Unicode normalisation form C (UAX #15).
#pragma once

#include <string>
#include <string_view>

namespace titan::tokenizer {

struct Normalizer {
  bool nfc = false;

  // The normalised text: `text` itself where nothing changes, else a view of `storage`. text: well-formed UTF-8.
  std::string_view normalize(std::string_view text, std::string& storage) const;
};

}  // namespace titan::tokenizer
