// The line a training step prints, to the character that of TorchTitan 0.2.2, so that people's scripts still parse it.
// Pure formatting: the numbers come from MetricsLogger.
#pragma once

#include <cstdint>
#include <string>

namespace titan::metrics {

// Numbers of one logged step; means are over the steps since the last logged one.
struct StepMetrics {
  int64_t step = 0;
  double loss = 0;        // mean over the valid tokens of all ranks
  double max_loss = 0;    // the largest rank's mean
  double grad_norm = 0;   // before clipping
  double memory_gib = 0;  // peak reserved on a GPU, peak resident set on a CPU
  double memory_percent = 0;
  double tps = 0;     // tokens per second per device
  double tflops = 0;  // model FLOPS per device, 1e12 per second
  double mfu_percent = 0;
  double data_loading_seconds = 0;  // mean wait per micro-batch
  double data_loading_percent = 0;  // share of the time since the last logged step
  double end_to_end_seconds = 0;    // mean time per step
  double lr = 0;
  int64_t num_tokens_seen = 0;  // by all ranks, since the first step of the run
};

struct ValidationMetrics {
  int64_t step = 0;
  double loss = 0;
  double memory_gib = 0;
  double memory_percent = 0;
  double tps = 0;
};

// "step: 10  loss:  4.82563  grad_norm:  1.6843  memory:  1.86GiB(2.35%)  tps: 668,661  tflops: 47.87  mfu: 4.84%".
// With `color`, each item is preceded by the escape sequence TorchTitan gives it.
std::string format_step(const StepMetrics& metrics, bool color);

// "validate step: 10  loss:  4.8256  memory:  1.86GiB(2.35%)  tps: 668,661".
std::string format_validation(const ValidationMetrics& metrics, bool color);

// `value` rounded to `decimals`, with commas between thousands: 668661.4 -> "668,661".
std::string group_thousands(double value, int decimals);

}  // namespace titan::metrics
