#include "titan/bench/report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace titan::bench {
namespace {

Setting h100() {
  return {.config_file = "configs/bench/1b.toml",
          .flags = {"--job.config_file", "configs/bench/1b.toml", "--training.seq_len=1024"},
          .model = "llama3 8B: dim 2048",
          .seq_len = 1024,
          .local_batch_size = 2,
          .global_batch_size = 4,
          .dtypes = "parameters bfloat16, compute bfloat16",
          .world_size = 2,
          .device_name = "NVIDIA H100 80GB HBM3",
          .peak_flops = 1000e12,
          .num_cores = 16,
          .num_threads = 8,
          .torch_version = "2.11.0"};
}

Measurement measurement(bool on_gpu) {
  Measurement m{.setup_seconds = 1.25,
                .first_step_seconds = 2.5,
                .step_seconds = {0.9, 0.5, 0.1, 0.7},
                .interval_seconds = 2.0,
                .on_gpu = on_gpu,
                .tokens_per_step = 2000,
                .flops_per_token = 1e9,
                .flops_per_step = {.matmul = 3e12, .attention = 1e12},
                .peak_reserved_bytes = 3LL << 30,
                .capacity_bytes = 80LL << 30,
                .final_loss = 7.5};
  m.time[profiling::Category::kMatmul] = 0.3;
  m.time[profiling::Category::kCommunication] = 0.05;
  m.time.idle_seconds = 0.15;
  return m;
}

bool has(const std::string& table, std::string_view part) { return table.find(part) != std::string::npos; }

TEST(Measurement, ACpuGoesByTheMedianAGpuByTheWholeInterval) {
  EXPECT_DOUBLE_EQ(measurement(false).seconds_per_step(), 0.6);
  EXPECT_DOUBLE_EQ(measurement(true).seconds_per_step(), 0.5);
  EXPECT_DOUBLE_EQ(measurement(true).best_seconds_per_step(), 0.1);
  Measurement odd = measurement(false);
  odd.step_seconds.push_back(0.2);
  EXPECT_DOUBLE_EQ(odd.seconds_per_step(), 0.5);
}

// 2000 tokens in 0.5 s; of 1000 TFLOP/s the model needs 4 and 8 are done.
TEST(Report, TableSaysWhatWasMeasuredAndHow) {
  const std::string table = to_table(h100(), {.num_steps = 4}, measurement(true));
  EXPECT_TRUE(table.starts_with("titan bench --job.config_file configs/bench/1b.toml --training.seq_len=1024\n"));
  EXPECT_TRUE(has(table, "2 x NVIDIA H100 80GB HBM3, 8 threads on 16 cores, torch 2.11.0")) << table;
  EXPECT_TRUE(has(table, "4,000 per device (over 4 steps; best 20,000)")) << table;
  EXPECT_TRUE(has(table, "500.0 ms (over 4 steps; best 100.0 ms)")) << table;
  EXPECT_TRUE(has(table, "0.40% (4.00 TFLOP/s of 1000.00 TFLOP/s)")) << table;
  EXPECT_TRUE(has(table, "0.80% (8.00 TFLOP/s of 1000.00 TFLOP/s)")) << table;
  EXPECT_TRUE(has(table, "3.00 GiB of 80.00 GiB")) << table;
  EXPECT_TRUE(has(table, "3.75 s after the start: set-up 1.25 s, step 1 2.50 s")) << table;
  EXPECT_TRUE(has(table, "    matmul             300.0 ms   60.0%\n")) << table;
  EXPECT_TRUE(has(table, "    communication       50.0 ms   10.0%\n")) << table;
  EXPECT_TRUE(has(table, "    idle               150.0 ms   30.0%\n")) << table;
}

TEST(Report, TableSaysWhosePeakAnUnknownDeviceIsComparedWith) {
  Setting cpu = h100();
  cpu.peak_is_known = false;
  const std::string table = to_table(cpu, {.num_steps = 4}, measurement(false));
  EXPECT_TRUE(has(table, "3,333 per device (median of 4 steps; best 20,000)")) << table;
  EXPECT_TRUE(has(table, "of 1000.00 TFLOP/s, an A100's)")) << table;
  EXPECT_TRUE(has(table, "    idle, host         150.0 ms   30.0%\n")) << table;
}

TEST(Report, JsonHasTheSameFigures) {
  const auto json = nlohmann::json::parse(to_json(h100(), {.num_steps = 4}, measurement(true)));
  EXPECT_EQ(json["setting"]["flags"].size(), 3u);
  EXPECT_EQ(json["setting"]["config_file"], "configs/bench/1b.toml");
  EXPECT_EQ(json["setting"]["torch_version"], "2.11.0");
  EXPECT_EQ(json["setting"]["num_warmup_steps"], 3);
  EXPECT_EQ(json["measured_by"], "whole_interval");
  EXPECT_DOUBLE_EQ(json["tokens_per_second_per_device"], 4000);
  EXPECT_DOUBLE_EQ(json["best_tokens_per_second_per_device"], 20000);
  EXPECT_DOUBLE_EQ(json["model_flops_utilisation"], 0.004);
  EXPECT_DOUBLE_EQ(json["hardware_flops_utilisation"], 0.008);
  EXPECT_EQ(json["peak_reserved_bytes"], 3LL << 30);
  EXPECT_DOUBLE_EQ(json["profiled_step_seconds"]["matmul"], 0.3);
  EXPECT_DOUBLE_EQ(json["profiled_step_seconds"]["attention"], 0);
  EXPECT_DOUBLE_EQ(json["profiled_step_seconds"]["idle"], 0.15);
  EXPECT_EQ(nlohmann::json::parse(to_json(h100(), {}, measurement(false)))["measured_by"], "median_step");
}

}  // namespace
}  // namespace titan::bench
