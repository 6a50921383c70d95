#include "titan/config/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>

#include "titan/config/fields.h"

namespace titan::config {
namespace {

struct Degree {
  std::string_view key;
  std::string_view axis;
  int64_t value;
};

// The product, or the largest int64_t where it does not fit.
int64_t multiply(int64_t a, int64_t b) {
  int64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

// The degrees that are written as such; data_parallel_shard_degree only where it is not -1.
std::vector<Degree> explicit_degrees(const Parallelism& p) {
  std::vector<Degree> degrees = {
      {"parallelism.pipeline_parallel_degree", "pp", p.pipeline_parallel_degree},
      {"parallelism.data_parallel_replicate_degree", "dp_replicate", p.data_parallel_replicate_degree},
      {"parallelism.data_parallel_shard_degree", "dp_shard", p.data_parallel_shard_degree},
      {"parallelism.context_parallel_degree", "cp", p.context_parallel_degree},
      {"parallelism.tensor_parallel_degree", "tp", p.tensor_parallel_degree},
  };
  std::erase_if(degrees, [](const Degree& degree) { return degree.value == -1; });
  return degrees;
}

int64_t product_of(const std::vector<Degree>& degrees) {
  int64_t product = 1;
  for (const Degree& degree : degrees) product = multiply(product, std::max<int64_t>(degree.value, 1));
  return product;
}

// "pp 2 x tp 4", without the degrees of 1.
std::string spelled_out(const std::vector<Degree>& degrees) {
  std::string text;
  for (const Degree& degree : degrees) {
    if (degree.value == 1) continue;
    text += fmt::format("{}{} {}", text.empty() ? "" : " x ", degree.axis, degree.value);
  }
  return text.empty() ? "all 1" : text;
}

// The key to name for degrees that do not fit: the largest, which is likeliest to be the mistake.
std::string_view key_to_blame(const std::vector<Degree>& degrees) {
  const auto largest = std::max_element(degrees.begin(), degrees.end(),
                                        [](const Degree& a, const Degree& b) { return a.value < b.value; });
  if (largest == degrees.end() || largest->value <= 1) return "parallelism.data_parallel_shard_degree";
  return largest->key;
}

void check_ranges(const JobConfig& config, Problems& problems) {
  JobConfig copy = config;
  const std::vector<Field> fields = fields_of(copy);
  for (const Field& field : fields) {
    const std::string_view opens = field.attributes.open_with;
    if (!opens.empty() && is_on(find_field(fields, opens))) continue;
    if (const auto wrong = out_of_range(field)) problems.add(fmt::format("{}: {}", field.key, *wrong));
  }
}

void check_degrees(const Parallelism& p, int64_t world_size, Problems& problems) {
  const std::vector<Degree> degrees = explicit_degrees(p);
  const int64_t product = product_of(degrees);
  const bool shards_the_rest = p.data_parallel_shard_degree == -1;
  if (shards_the_rest && world_size % product != 0) {
    problems.add(
        fmt::format("{}: the degrees ({}) must divide the world size, got {} on {} ranks; use {} ranks or a "
                    "multiple",
                    key_to_blame(degrees), spelled_out(degrees), product, world_size, product));
  } else if (!shards_the_rest && product != world_size) {
    problems.add(
        fmt::format("{}: the degrees ({}) must multiply to the world size, got {} on {} ranks; use {} ranks, "
                    "or parallelism.data_parallel_shard_degree -1 for all that are left",
                    key_to_blame(degrees), spelled_out(degrees), product, world_size, product));
  }
  if (p.expert_parallel_degree > 1 && p.expert_tensor_parallel_degree != 1 &&
      p.expert_tensor_parallel_degree != p.tensor_parallel_degree) {
    problems.add(
        fmt::format("parallelism.expert_tensor_parallel_degree: must be 1 or tensor_parallel_degree ({}), "
                    "got {}",
                    p.tensor_parallel_degree, p.expert_tensor_parallel_degree));
  }
}

// "1, 2, 4 or 8"; of many divisors the first few.
std::string divisors_of(int64_t number) {
  constexpr size_t kMostShown = 8;
  std::vector<int64_t> divisors;
  for (int64_t i = 1; i <= number && divisors.size() <= kMostShown; ++i) {
    if (number % i == 0) divisors.push_back(i);
  }
  std::string text;
  for (size_t i = 0; i < std::min(divisors.size(), kMostShown); ++i) {
    const bool is_last = i + 1 == divisors.size();
    text += fmt::format("{}{}", i == 0 ? "" : is_last ? " or " : ", ", divisors[i]);
  }
  return divisors.size() > kMostShown ? text + " ..." : text;
}

void check_batches(const JobConfig& config, int64_t world_size, Problems& problems) {
  const Training& t = config.training;
  const Parallelism& p = config.parallelism;
  if (t.local_batch_size < 1) return;  // said already
  if (t.global_batch_size >= 1) {
    const int64_t data_parallel = data_parallel_degree(config, world_size);
    const int64_t per_pass = multiply(t.local_batch_size, data_parallel);
    if (t.global_batch_size % per_pass != 0) {
      problems.add(
          fmt::format("training.global_batch_size: must be a multiple of local_batch_size x data parallel "
                      "degree ({} x {} = {}), got {}",
                      t.local_batch_size, data_parallel, per_pass, t.global_batch_size));
    }
  }
  const int64_t microbatch = p.pipeline_parallel_microbatch_size;
  if (p.pipeline_parallel_degree > 1 && microbatch >= 1 && t.local_batch_size % microbatch != 0) {
    problems.add(
        fmt::format("parallelism.pipeline_parallel_microbatch_size: must divide training.local_batch_size "
                    "({}), got {}",
                    t.local_batch_size, microbatch));
  }
}

bool is_positive_integer(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 1;
}

// FSDP is what brings parameters to the device that computes.
void check_offload(const JobConfig& config, int64_t world_size, Problems& problems) {
  const int64_t replicas = std::max<int64_t>(config.parallelism.data_parallel_replicate_degree, 1);
  const bool shards =
      data_parallel_degree(config, world_size) > replicas || config.parallelism.context_parallel_degree > 1;
  if (!config.training.enable_cpu_offload || shards) return;
  problems.add(
      "training.enable_cpu_offload: needs parameters that are sharded, got parallelism.data_parallel_shard_degree 1; "
      "shard over 2 ranks or more, or leave it off");
}

// Ranks of the context parallel axis have equal parts of the sequence, of one piece each or, balanced, of two; between
// blocks, ranks of the tensor parallel axis have equal parts of these.
void check_sequence(const JobConfig& config, Problems& problems) {
  const Parallelism& p = config.parallelism;
  const int64_t tp = p.disable_sequence_parallel ? 1 : std::max<int64_t>(p.tensor_parallel_degree, 1);
  const int64_t cp = std::max<int64_t>(p.context_parallel_degree, 1);
  const int64_t pieces = cp > 1 && p.context_parallel_load_balancer.has_value() ? multiply(cp, 2) : cp;
  const auto check_one = [&](std::string_view key, int64_t seq_len) {
    const int64_t parts = multiply(cp, tp);
    if (seq_len >= 1 && seq_len % pieces != 0) {
      problems.add(
          fmt::format("{}: must be a multiple of {} for parallelism.context_parallel_degree {}, got {}; use {}", key,
                      pieces, cp, seq_len, (seq_len + pieces - 1) / pieces * pieces));
    } else if (seq_len >= 1 && seq_len % parts != 0) {
      const std::string wanted =
          cp == 1 ? fmt::format("parallelism.tensor_parallel_degree ({})", tp)
                  : fmt::format("context_parallel_degree x tensor_parallel_degree ({} x {})", cp, tp);
      problems.add(
          fmt::format("{}: must be a multiple of {}, got {}; use {}, or set "
                      "parallelism.disable_sequence_parallel",
                      key, wanted, seq_len, (seq_len + parts - 1) / parts * parts));
    }
  };
  check_one("training.seq_len", config.training.seq_len);
  if (config.validation.enable) check_one("validation.seq_len", config.validation.seq_len);
}

// Parts of the sequence are what communication and products are cut into.
void check_async_tensor_parallel(const Parallelism& p, Problems& problems, std::vector<std::string>& notes) {
  if (!p.enable_async_tensor_parallel) return;
  if (p.tensor_parallel_degree <= 1) {
    notes.push_back(
        "parallelism.enable_async_tensor_parallel: without effect, since parallelism.tensor_parallel_degree is 1");
  } else if (p.disable_sequence_parallel) {
    problems.add(
        "parallelism.enable_async_tensor_parallel: needs sequence parallel, got parallelism.disable_sequence_parallel "
        "true; leave one of the two off");
  }
}

void check_activation_checkpoint(const ActivationCheckpoint& ac, Problems& problems) {
  if (ac.mode == "selective" && ac.selective_ac_option != "op" && !is_positive_integer(ac.selective_ac_option)) {
    problems.add(fmt::format("activation_checkpoint.selective_ac_option: must be op or a positive integer, got \"{}\"",
                             ac.selective_ac_option));
  }
}

void check_checkpoint(const Checkpoint& c, Problems& problems, std::vector<std::string>& notes) {
  if (c.keep_latest_k == 1) {
    problems.add("checkpoint.keep_latest_k: must be 0 (all) or at least 2, got 1; the latest may still be in writing");
  }
  if (c.initial_load_in_hf && !c.initial_load_model_only) {
    problems.add(
        "checkpoint.initial_load_model_only: must be true with initial_load_in_hf, got false; safetensors "
        "hold weights only");
  }
  if (c.last_save_in_hf && !c.last_save_model_only) {
    problems.add(
        "checkpoint.last_save_model_only: must be true with last_save_in_hf, got false; safetensors hold "
        "weights only");
  }
  if (c.initial_load_path && !c.enable) {
    notes.push_back("checkpoint.initial_load_path: without effect, since checkpoint.enable is false");
  }
}

void check_data_loader(const DataLoader& d, std::string_view section, Problems& problems) {
  if (d.num_workers != 0) return;
  if (d.persistent_workers) {
    problems.add(fmt::format("{}.dataloader.persistent_workers: needs num_workers of at least 1, got 0", section));
  }
  if (d.prefetch_factor) {
    problems.add(fmt::format("{}.dataloader.prefetch_factor: needs num_workers of at least 1, got 0", section));
  }
}

void check_dataset(std::string_view section, std::string_view name, const std::optional<std::string>& path,
                   Problems& problems) {
  if (!path || path->empty()) {
    problems.add(
        fmt::format("{}.dataset_path: dataset {} is read from disk: expected a file or folder, got none; "
                    "download it and give its path",
                    section, name));
  } else if (!std::filesystem::exists(*path)) {
    problems.add(fmt::format("{}.dataset_path: no such file or folder: {}", section, *path));
  }
}

void check_tokenizer(const std::string& folder, Problems& problems) {
  if (!std::filesystem::is_directory(folder)) {
    problems.add(
        fmt::format("model.hf_assets_path: no such folder: {}; give one with a tokenizer in it "
                    "(tokenizer.json)",
                    folder.empty() ? "''" : folder));
  } else if (!std::filesystem::is_regular_file(std::filesystem::path(folder) / "tokenizer.json")) {
    problems.add(fmt::format("model.hf_assets_path: no tokenizer in {}: tokenizer.json is missing", folder));
  }
}

}  // namespace

int64_t data_parallel_degree(const JobConfig& config, int64_t world_size) {
  const Parallelism& p = config.parallelism;
  const int64_t replicate = std::max<int64_t>(p.data_parallel_replicate_degree, 1);
  if (p.data_parallel_shard_degree != -1) {
    return multiply(replicate, std::max<int64_t>(p.data_parallel_shard_degree, 1));
  }
  return multiply(replicate, std::max<int64_t>(world_size / product_of(explicit_degrees(p)), 1));
}

int64_t smallest_world_size(const JobConfig& config) { return product_of(explicit_degrees(config.parallelism)); }

int64_t global_batch_size(const JobConfig& config, int64_t world_size) {
  if (config.training.global_batch_size != -1) return config.training.global_batch_size;
  return multiply(config.training.local_batch_size, data_parallel_degree(config, world_size));
}

void check(const JobConfig& config, int64_t world_size, Problems& problems, std::vector<std::string>& notes) {
  check_ranges(config, problems);
  check_degrees(config.parallelism, world_size, problems);
  check_batches(config, world_size, problems);
  check_offload(config, world_size, problems);
  check_sequence(config, problems);
  check_async_tensor_parallel(config.parallelism, problems, notes);
  check_activation_checkpoint(config.activation_checkpoint, problems);
  check_checkpoint(config.checkpoint, problems, notes);
  check_data_loader(config.training.dataloader, "training", problems);
  check_data_loader(config.validation.dataloader, "validation", problems);
}

void check_degrees_against_model(const JobConfig& config, int64_t n_heads, int64_t n_kv_heads, Problems& problems) {
  const int64_t tp = config.parallelism.tensor_parallel_degree;
  const auto divides = [&](std::string_view name, int64_t size) {
    if (tp < 1 || size < 1 || size % tp == 0) return true;
    problems.add(fmt::format("parallelism.tensor_parallel_degree: must divide {} ({}), got {}; use {}", name, size, tp,
                             divisors_of(size)));
    return false;
  };
  if (divides("num_kv_heads", n_kv_heads)) divides("num_heads", n_heads);
}

void check_files(const JobConfig& config, Problems& problems) {
  check_tokenizer(config.model.hf_assets_path, problems);
  check_dataset("training", config.training.dataset, config.training.dataset_path, problems);
  if (config.validation.enable) {
    check_dataset("validation", config.validation.dataset, config.validation.dataset_path, problems);
  }
  const Checkpoint& c = config.checkpoint;
  if (c.enable && c.initial_load_path && !std::filesystem::exists(*c.initial_load_path)) {
    problems.add(fmt::format("checkpoint.initial_load_path: no such checkpoint: {}", *c.initial_load_path));
  }
  const std::filesystem::path dump_folder(config.job.dump_folder);
  if (std::filesystem::exists(dump_folder) && !std::filesystem::is_directory(dump_folder)) {
    problems.add(fmt::format("job.dump_folder: must be a folder, got the file {}", config.job.dump_folder));
  }
}

}  // namespace titan::config
