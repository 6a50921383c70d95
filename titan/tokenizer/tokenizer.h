// A Hugging Face tokenizer.json (byte-level BPE: Llama 3, GPT-2, Qwen 2 and their like), with the same ids and the same
// text as the `tokenizers` library. Training one is in bpe_trainer.h; reading datasets is not here.
//
// What a tokenizer.json asks for and this reader does not do (another model than BPE, another pre-tokenizer than Split
// and ByteLevel, dropout, truncation, ...) is refused by name when it is loaded, never ignored.
//
// Text is UTF-8. Bytes that are not UTF-8 become U+FFFD first, one for each maximal invalid part (Unicode,
// section 3.9), so encode never fails because of what is in a text.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace titan::tokenizer {

// Const member functions may be called from several threads at once.
class Tokenizer {
 public:
  // Reads <assets>/tokenizer.json and, where there, <assets>/tokenizer_config.json (bos, eos, further special tokens).
  // Throws c10::ValueError, one line that names the file and the key.
  static Tokenizer load(const std::filesystem::path& assets);

  Tokenizer(Tokenizer&&) noexcept;
  Tokenizer& operator=(Tokenizer&&) noexcept;
  ~Tokenizer();

  // Ids of `text` by tokenizer.json alone, as Tokenizer.from_file(...).encode(text, add_special_tokens).ids of
  // `tokenizers`. Added and special tokens that stand in the text are recognised; add_special_tokens runs the
  // post-processor (bos, eos by its template).
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = false) const;

  // Ids of a training document as TorchTitan's HuggingFaceTokenizer.encode(text, add_bos=True, add_eos=True) gives
  // them: the special tokens of tokenizer_config.json count too, the post-processor runs, and bos and eos are put
  // around the result unless the post-processor adds them.
  std::vector<int32_t> encode_document(std::string_view text) const;

  // Text of `ids`. Ids without a token are left out; bytes that do not make UTF-8 become U+FFFD.
  // Throws c10::ValueError on a negative id.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  // 1 + the largest id, special tokens of tokenizer_config.json included: what an embedding must have rows for.
  int64_t vocab_size() const;

  // By bos_token and eos_token of tokenizer_config.json. As in TorchTitan, a token that serves as both counts as bos
  // only (GPT-2, Qwen 2), so documents are then set apart by it alone.
  std::optional<int32_t> bos_id() const;
  std::optional<int32_t> eos_id() const;

 private:
  struct State;
  explicit Tokenizer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace titan::tokenizer
