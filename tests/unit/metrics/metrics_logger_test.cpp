#include "titan/metrics/metrics_logger.h"

#include <c10/util/Exception.h>
#include <gtest/gtest.h>

#include <chrono>
#include <regex>
#include <set>
#include <thread>

#include "tests/unit/metrics/output_folder.h"

namespace titan::metrics {
namespace {

namespace fs = std::filesystem;

class MetricsLoggerTest : public testing::Test {
 protected:
  MetricsLoggerTest() {
    options_.dump_folder = folder_.path();
    options_.flops_per_token = 6e6;
    options_.memory = [] {
      return MemoryStats{.peak_reserved_bytes = int64_t{3} << 29,
                         .peak_active_bytes = int64_t{1} << 30,
                         .capacity_bytes = int64_t{6} << 30,
                         .num_alloc_retries = 0,
                         .num_ooms = 0};
    };
    testing::internal::CaptureStdout();
  }
  ~MetricsLoggerTest() override {
    if (!output_taken_) testing::internal::GetCapturedStdout();
  }

  std::string output() {
    output_taken_ = true;
    return testing::internal::GetCapturedStdout();
  }

  fs::path jsonl() const { return folder_.path() / "metrics" / "metrics.jsonl"; }

  static MetricsLogger::StepResult result(int64_t step) {
    return {.step = step, .loss = 4.5, .max_loss = 5.5, .grad_norm = 1.25, .lr = 8e-4, .num_tokens_seen = 2048 * step};
  }

  const OutputFolder folder_;
  config::Metrics config_;
  MetricsLoggerOptions options_;
  bool output_taken_ = false;
};

TEST_F(MetricsLoggerTest, LogsStepOneAndMultiplesOfLogFreq) {
  config_.log_freq = 10;
  const MetricsLogger logger(config_, options_);
  std::set<int64_t> logged;
  for (int64_t step = 1; step <= 30; ++step) {
    if (logger.should_log(step)) logged.insert(step);
  }
  EXPECT_EQ(logged, (std::set<int64_t>{1, 10, 20, 30}));
}

TEST_F(MetricsLoggerTest, SaysTheDeviceAndItsPeakAtTheStart) {
  const MetricsLogger logger(config_, options_);
  const std::string text = output();
  EXPECT_NE(text.find("INFO - CPU capacity: cpu with 6.00GiB memory\n"), std::string::npos) << text;
  EXPECT_NE(text.find("INFO - Peak FLOPS used for computing MFU: 3.120e+14\n"), std::string::npos) << text;
}

TEST_F(MetricsLoggerTest, PrintsTheStepLineWithoutColourIntoAPipe) {
  MetricsLogger logger(config_, options_);
  logger.add_tokens(2048);
  logger.log(result(1));
  const std::regex form(
      R"([^]*INFO - step:  1  loss:  4\.50000  grad_norm:  1\.2500  memory:  1\.50GiB\(25\.00%\)  tps: [\d,]+  tflops: [\d,]+\.\d\d  mfu: \d+\.\d\d%\n)");
  const std::string text = output();
  EXPECT_TRUE(std::regex_match(text, form)) << text;
}

// Waits 50 ms so that the clock, not its granularity, decides; the claims are ratios of one measured time.
TEST_F(MetricsLoggerTest, RatesFollowTorchTitansFormulas) {
  options_.non_data_parallel_size = 4;
  MetricsLogger logger(config_, options_);
  logger.start(10);
  logger.add_tokens(1000);
  logger.add_tokens(3000);
  logger.add_data_loading(std::chrono::milliseconds(10));
  logger.add_data_loading(std::chrono::milliseconds(30));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const StepMetrics m = logger.log(result(20));
  const double seconds = m.end_to_end_seconds * 10;
  EXPECT_GE(seconds, 0.05);
  EXPECT_NEAR(m.tps * seconds, 4000 / 4, 1e-6);
  EXPECT_NEAR(m.tflops, 6e6 * m.tps / 1e12, 1e-12);
  EXPECT_NEAR(m.mfu_percent, 100 * 6e6 * m.tps / 312e12, 1e-12);
  EXPECT_NEAR(m.data_loading_seconds, 0.02, 1e-12);
  EXPECT_NEAR(m.data_loading_percent * seconds, 100 * 0.04, 1e-9);
}

TEST_F(MetricsLoggerTest, EachIntervalStartsAnew) {
  int num_resets = 0;
  options_.reset_peak_memory = [&] { ++num_resets; };
  MetricsLogger logger(config_, options_);
  logger.add_tokens(1000);
  logger.add_data_loading(std::chrono::seconds(1));
  logger.log(result(1));
  const StepMetrics m = logger.log(result(2));
  EXPECT_EQ(m.tps, 0);
  EXPECT_EQ(m.data_loading_seconds, 0);
  EXPECT_EQ(num_resets, 2);
}

TEST_F(MetricsLoggerTest, SavesEveryTagOfTorchTitan) {
  config_.enable_tensorboard = true;
  MetricsLogger logger(config_, options_);
  logger.add_tokens(64);
  logger.log(result(1));
  logger.log_validation(1, 4.75);
  const std::set<std::string> step_tags = {"loss_metrics/global_avg_loss",
                                           "loss_metrics/global_max_loss",
                                           "grad_norm",
                                           "throughput(tps)",
                                           "tflops",
                                           "mfu(%)",
                                           "time_metrics/end_to_end(s)",
                                           "time_metrics/data_loading(s)",
                                           "time_metrics/data_loading(%)",
                                           "memory/max_active(GiB)",
                                           "memory/max_active(%)",
                                           "memory/max_reserved(GiB)",
                                           "memory/max_reserved(%)",
                                           "memory/num_alloc_retries",
                                           "memory/num_ooms",
                                           "n_tokens_seen",
                                           "lr"};
  const std::set<std::string> validation_tags = {"validation_metrics/loss",
                                                 "validation_metrics/throughput(tps)",
                                                 "validation_metrics/memory/max_active(GiB)",
                                                 "validation_metrics/memory/max_active(%)",
                                                 "validation_metrics/memory/max_reserved(GiB)",
                                                 "validation_metrics/memory/max_reserved(%)"};

  const auto lines = json_lines_of(jsonl());
  ASSERT_EQ(lines.size(), 2u);
  std::set<std::string> found;
  for (const auto& [name, value] : lines[0].items()) found.insert(name);
  std::set<std::string> expected = step_tags;
  expected.insert({"step", "time"});
  EXPECT_EQ(found, expected);
  EXPECT_EQ(lines[0]["lr"], 8e-4);
  EXPECT_EQ(lines[0]["memory/max_active(GiB)"], 1.0);
  EXPECT_EQ(lines[1]["validation_metrics/loss"], 4.75);

  fs::path events;
  for (const auto& entry : fs::recursive_directory_iterator(folder_.path() / "tb")) {
    if (entry.is_regular_file()) events = entry.path();
  }
  EXPECT_TRUE(std::regex_match(events.parent_path().filename().string(), std::regex(R"(\d{8}-\d{4})"))) << events;
  found.clear();
  for (const Scalar& scalar : scalars_of(events)) {
    found.insert(scalar.tag);
    EXPECT_EQ(scalar.step, 1);
    if (scalar.tag == "loss_metrics/global_avg_loss") {
      EXPECT_EQ(scalar.value, 4.5f);
    }
  }
  expected = step_tags;
  expected.insert(validation_tags.begin(), validation_tags.end());
  EXPECT_EQ(found, expected);
}

TEST_F(MetricsLoggerTest, PrintsTheValidationLine) {
  MetricsLogger logger(config_, options_);
  logger.log_validation(5, 4.75);
  const std::string text = output();
  EXPECT_TRUE(text.ends_with("INFO - validate step:  5  loss:  4.7500  memory:  1.50GiB(25.00%)  tps: 0\n")) << text;
}

TEST_F(MetricsLoggerTest, OnlyTheMetricsRankSaves) {
  options_.rank = 1;
  MetricsLogger(config_, options_).log(result(1));
  EXPECT_TRUE(fs::is_empty(folder_.path()));
  options_.metrics_rank = 1;
  MetricsLogger(config_, options_).log(result(1));
  EXPECT_EQ(json_lines_of(jsonl()).size(), 1u);
}

TEST_F(MetricsLoggerTest, AllRanksSaveIntoTheirOwnFoldersWhenAsked) {
  config_.save_for_all_ranks = true;
  config_.enable_tensorboard = true;
  config_.save_tb_folder = "board";
  options_.rank = 3;
  MetricsLogger(config_, options_).log(result(1));
  EXPECT_TRUE(fs::exists(folder_.path() / "metrics" / "rank_3" / "metrics.jsonl"));
  const fs::path run = fs::directory_iterator(folder_.path() / "board")->path();
  EXPECT_TRUE(fs::is_directory(run / "rank_3")) << run;
}

TEST_F(MetricsLoggerTest, AResumedRunAppendsAndANewOneMovesTheOldFileAside) {
  MetricsLogger(config_, options_).log(result(1));
  MetricsLogger(config_, options_).log(result(10));
  EXPECT_EQ(json_lines_of(jsonl()).size(), 2u);
  MetricsLogger(config_, options_).log(result(1));
  EXPECT_EQ(json_lines_of(jsonl()).size(), 1u);
  EXPECT_EQ(json_lines_of(folder_.path() / "metrics" / "metrics.1.jsonl").size(), 2u);
  MetricsLogger(config_, options_).log(result(1));
  EXPECT_TRUE(fs::exists(folder_.path() / "metrics" / "metrics.2.jsonl"));
}

TEST_F(MetricsLoggerTest, RefusesAFolderItCannotCreateAtTheStart) {
  std::ofstream(folder_.path() / "file") << "";
  options_.dump_folder = folder_.path() / "file";
  std::string message;
  try {
    MetricsLogger(config_, options_);
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  }
  EXPECT_TRUE(message.starts_with("job.dump_folder: cannot create ")) << message;
}

}  // namespace
}  // namespace titan::metrics
