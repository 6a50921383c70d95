#include "titan/tokenizer/normalizer.h"

#include <c10/util/Exception.h>
#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "titan/tokenizer/unicode_version.h"
#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

// Below U+0300 every character is its own normal form and none combines with what stands before it. In UTF-8 those
// are the bytes up to CB as lead bytes.
bool surely_nfc(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char byte) { return static_cast<unsigned char>(byte) < 0xCC; });
}

struct Free {
  void operator()(void* memory) const { std::free(memory); }
};

void append_nfc(std::string_view text, std::string& normalized) {
  if (surely_nfc(text)) {
    normalized += text;
    return;
  }
  utf8proc_uint8_t* memory = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &memory, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, Free> owner(memory);
  TORCH_CHECK(size >= 0, "NFC of ", text.size(), " bytes of text failed: ", utf8proc_errmsg(size));
  normalized.append(reinterpret_cast<const char*>(memory), static_cast<size_t>(size));
}

}  // namespace

std::string_view Normalizer::normalize(std::string_view text, std::string& storage) const {
  if (!nfc || surely_nfc(text)) return text;
  storage.clear();
  // A character that takes no part separates what is before it from what is behind it. [Note: Unicode versions]
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    const CodePoint character = first_code_point(text.substr(i));
    const size_t end = i + static_cast<size_t>(character.num_bytes);
    if (is_inert_in_nfc(character.value)) {
      append_nfc(text.substr(begin, i - begin), storage);
      storage += text.substr(i, end - i);
      begin = end;
    }
    i = end;
  }
  append_nfc(text.substr(begin), storage);
  return storage;
}

}  // namespace titan::tokenizer
