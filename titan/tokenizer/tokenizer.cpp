#include "titan/tokenizer/tokenizer.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <mutex>
#include <utility>

#include "titan/tokenizer/byte_level.h"
#include "titan/tokenizer/tokenizer_json.h"
#include "titan/tokenizer/utf8.h"

namespace titan::tokenizer {
namespace {

// Everything one call of encode writes to.
struct Scratch {
  PreTokenizer::Scratch pre_tokenizer;
  Bpe::Scratch bpe;
  std::vector<AddedVocabulary::Section> raw_sections, sections;
  std::string normalized;
};

// Lends each call a Scratch of its own: as many exist as calls ran at once.
class ScratchPool {
 public:
  std::unique_ptr<Scratch> take() {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) return std::make_unique<Scratch>();
    std::unique_ptr<Scratch> scratch = std::move(free_.back());
    free_.pop_back();
    return scratch;
  }

  void give_back(std::unique_ptr<Scratch> scratch) {
    const std::lock_guard lock(mutex_);
    free_.push_back(std::move(scratch));
  }

 private:
  std::mutex mutex_;
  std::vector<std::unique_ptr<Scratch>> free_;
};

}  // namespace

struct Tokenizer::State {
  explicit State(TokenizerDefinition definition)
      : bpe(std::move(definition.model)),
        normalizer(definition.normalizer),
        pre_tokenizer(std::move(definition.splits), definition.byte_level),
        post_processor(std::move(definition.post_processor)),
        decodes_bytes(definition.decodes_bytes) {
    added.add(definition.added_tokens, bpe, normalizer);
    document_added.add(definition.added_tokens, bpe, normalizer);
  }

  std::vector<int32_t> encode(std::string_view text, const AddedVocabulary& vocabulary) const;
  void add_config(const TokenizerConfig& config);
  std::optional<std::string_view> token_of(int32_t id) const;

  Bpe bpe;
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  bool decodes_bytes;
  AddedVocabulary added;           // of tokenizer.json
  AddedVocabulary document_added;  // with tokenizer_config.json's special tokens
  std::optional<int32_t> bos_id, eos_id;
  bool template_adds_bos = false, template_adds_eos = false;
  mutable ScratchPool scratches;
};

// Takes over what TorchTitan's HuggingFaceTokenizer makes of the file: its special tokens join the vocabulary, and a
// token that is both bos and eos counts as bos.
void Tokenizer::State::add_config(const TokenizerConfig& config) {
  document_added.add(config.special_tokens, bpe, normalizer);
  const auto id_of = [&](const std::string& token) {
    const auto id = document_added.id_of(token);
    return id ? id : bpe.id_of(token);
  };
  if (config.bos_token) bos_id = id_of(*config.bos_token);
  if (config.eos_token && config.eos_token != config.bos_token) eos_id = id_of(*config.eos_token);
  std::vector<int32_t> empty;
  post_processor.apply(empty);
  const auto adds = [&](std::optional<int32_t> id) {
    return id && std::find(empty.begin(), empty.end(), *id) != empty.end();
  };
  template_adds_bos = adds(bos_id);
  template_adds_eos = adds(eos_id);
}

std::vector<int32_t> Tokenizer::State::encode(std::string_view text, const AddedVocabulary& vocabulary) const {
  if (!is_utf8(text)) return encode(replace_malformed(text), vocabulary);
  std::unique_ptr<Scratch> scratch = scratches.take();
  std::vector<int32_t> ids;
  Regex::Scratch& regex = scratch->pre_tokenizer.regex;
  vocabulary.split_raw(text, regex, scratch->raw_sections);
  for (const AddedVocabulary::Section& raw : scratch->raw_sections) {
    if (raw.id) {
      ids.push_back(*raw.id);
      continue;
    }
    vocabulary.split_normalized(normalizer.normalize(raw.text, scratch->normalized), regex, scratch->sections);
    for (const AddedVocabulary::Section& section : scratch->sections) {
      if (section.id) {
        ids.push_back(*section.id);
        continue;
      }
      for (const std::string_view word : pre_tokenizer.split(section.text, scratch->pre_tokenizer)) {
        bpe.encode(word, scratch->bpe, ids);
      }
    }
  }
  scratches.give_back(std::move(scratch));
  return ids;
}

std::optional<std::string_view> Tokenizer::State::token_of(int32_t id) const {
  const auto token = document_added.token_of(id);
  return token ? token : bpe.token_of(id);
}

Tokenizer::Tokenizer(std::unique_ptr<State> state) : state_(std::move(state)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Tokenizer Tokenizer::load(const std::filesystem::path& assets) {
  const std::filesystem::path json = assets / "tokenizer.json";
  TORCH_CHECK_VALUE(std::filesystem::is_regular_file(json), "model.hf_assets_path: expected a folder with the file ",
                    "tokenizer.json (Hugging Face's tokenizer), got '", assets.string(), "', which has none");
  auto state = [&] {
    try {
      return std::make_unique<State>(read_tokenizer_json(json));
    } catch (const c10::ValueError& error) {
      // What the file's reader finds has the file's name already, what the parts find has not.
      const std::string message = error.what_without_backtrace();
      TORCH_CHECK_VALUE(false, message.starts_with(json.string()) ? "" : json.string() + ": ", message);
    }
  }();
  const std::filesystem::path config = assets / "tokenizer_config.json";
  if (std::filesystem::exists(config)) state->add_config(read_tokenizer_config(config));
  return Tokenizer(std::move(state));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  std::vector<int32_t> ids = state_->encode(text, state_->added);
  if (add_special_tokens) state_->post_processor.apply(ids);
  return ids;
}

std::vector<int32_t> Tokenizer::encode_document(std::string_view text) const {
  const State& state = *state_;
  std::vector<int32_t> ids = state.encode(text, state.document_added);
  state.post_processor.apply(ids);
  if (state.bos_id && !state.template_adds_bos) ids.insert(ids.begin(), *state.bos_id);
  if (state.eos_id && !state.template_adds_eos) ids.push_back(*state.eos_id);
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  std::string bytes;
  bool first = true;
  for (const int32_t id : ids) {
    TORCH_CHECK_VALUE(id >= 0, "tokenizer: expected ids of at least 0 to decode, got ", id);
    const auto token = state_->token_of(id);
    if (!token || (skip_special_tokens && state_->document_added.is_special(*token))) continue;
    if (!state_->decodes_bytes) {
      if (!first) bytes += ' ';
      bytes += *token;
      first = false;
      continue;
    }
    const auto decoded = byte_level_decode(*token);
    bytes += decoded ? std::string_view(*decoded) : *token;
  }
  return is_utf8(bytes) ? bytes : replace_malformed(bytes);
}

int64_t Tokenizer::vocab_size() const {
  int64_t max_id = std::max(state_->bpe.max_id(), state_->document_added.max_id());
  for (const auto& pieces : state_->post_processor.templates) {
    for (const TemplatePiece& piece : pieces) {
      for (const int32_t id : piece.ids) max_id = std::max<int64_t>(max_id, id);
    }
  }
  return max_id + 1;
}

std::optional<int32_t> Tokenizer::bos_id() const { return state_->bos_id; }
std::optional<int32_t> Tokenizer::eos_id() const { return state_->eos_id; }

}  // namespace titan::tokenizer
