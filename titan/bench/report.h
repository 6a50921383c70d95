// What `titan bench` says of a measurement: a table for people, JSON for programs. Both name what was measured on what,
// so that a figure can be read without the machine it came from.
#pragma once

#include <string>
#include <vector>

#include "titan/bench/measurement.h"

namespace titan::bench {

struct Setting {
  std::string config_file;         // empty: none was given
  std::vector<std::string> flags;  // of the job, as given, that of the file too
  std::string model;               // "llama3 8B: dim 4096, ..."
  int64_t seq_len = 0;
  int64_t local_batch_size = 0;
  int64_t global_batch_size = 0;
  std::string dtypes;  // "parameters float32, compute bfloat16"
  int64_t world_size = 1;
  std::string device_name;    // "NVIDIA H100 80GB HBM3"; of a CPU its model
  double peak_flops = 0;      // dense bf16, of the device
  bool peak_is_known = true;  // false: the device is not in the table, and peak_flops is an A100's
  int64_t num_cores = 0;      // that the process may use
  int64_t num_threads = 0;    // of one operator
  std::string torch_version;
};

// Of this process's job and machine.
Setting describe_setting(const config::JobConfig& job, const models::ModelSpec& spec, int64_t world_size,
                         const device::ComputeDevice& device, std::vector<std::string> flags);

// Several lines, each ended by a newline.
std::string to_table(const Setting& setting, const BenchOptions& options, const Measurement& measurement);

// One object. Its keys carry the units: seconds, bytes, flops; shares are in [0, 1].
std::string to_json(const Setting& setting, const BenchOptions& options, const Measurement& measurement);

}  // namespace titan::bench
