// The sizes of a dense Qwen 3 model (Yang et al. 2025, arXiv 2505.09388, table 1): the flavours by name, and
// model.args.* over them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "titan/models/decoder_sizes.h"

namespace titan::config {
class Problems;
struct ModelArgs;
}  // namespace titan::config

namespace titan::models::qwen3 {

struct Config {
  DecoderSizes sizes;
  int64_t max_seq_len = 40960;
};

std::vector<std::string> flavors();

// Null if there is no such flavour.
std::optional<Config> config_of(std::string_view flavor);

// TorchTitan's flavours that are mixtures of experts, which are not there yet.
bool is_mixture_of_experts(std::string_view flavor);

// `base` with the sizes of model.args in place of its own.
Config with_args(Config base, const config::ModelArgs& args);

// The keys of model.args that with_args reads.
std::vector<std::string_view> known_args();

// Adds a line for every size that makes no model.
void check(const Config& config, config::Problems& problems);

}  // namespace titan::models::qwen3
