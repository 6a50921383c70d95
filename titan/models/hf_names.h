// Names of a dense decoder's tensors (decoder.h) in Hugging Face's checkpoints: those of LlamaForCausalLM there, which
// Qwen3ForCausalLM and others took over.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace titan::models {

// Names that are no decoder's come back as they are. Nothing for what the other side has not: the output layer's weight
// where it is tied to the embedding, and rotary frequencies, which some old checkpoints hold.
std::optional<std::string> to_hf_name(std::string_view fqn, bool tie_embeddings);
std::optional<std::string> from_hf_name(std::string_view hf_name, bool tie_embeddings);

}  // namespace titan::models
