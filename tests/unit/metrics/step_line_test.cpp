#include "titan/metrics/step_line.h"

#include <gtest/gtest.h>

#include <limits>

namespace titan::metrics {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

StepMetrics example() {
  return {.step = 10,
          .loss = 4.825631,
          .grad_norm = 1.68434,
          .memory_gib = 1.861,
          .memory_percent = 2.349,
          .tps = 668661.4,
          .tflops = 47.871,
          .mfu_percent = 4.8389};
}

// What TorchTitan 0.2.2 prints for these numbers.
TEST(StepLine, IsTorchTitans) {
  EXPECT_EQ(
      format_step(example(), false),
      "step: 10  loss:  4.82563  grad_norm:  1.6843  memory:  1.86GiB(2.35%)  tps: 668,661  tflops: 47.87  mfu: 4.84%");
}

TEST(StepLine, ColumnsStandOrGrow) {
  StepMetrics m = example();
  m.step = 1;
  m.loss = 12.25;
  m.grad_norm = 123.45678;
  m.memory_gib = 123.456;
  m.memory_percent = 100;
  m.tps = 12;
  m.tflops = 1234.5;
  m.mfu_percent = 0;
  EXPECT_EQ(format_step(m, false),
            "step:  1  loss: 12.25000  grad_norm: 123.4568  memory: 123.46GiB(100.00%)  tps: 12  tflops: 1,234.50  "
            "mfu: 0.00%");
  m.step = 123456;
  EXPECT_TRUE(format_step(m, false).starts_with("step: 123456  loss:"));
}

TEST(StepLine, ColoursAreTorchTitans) {
  EXPECT_EQ(format_step(example(), true),
            "\033[31mstep: 10  \033[32mloss:  4.82563  \033[38;2;180;60;0mgrad_norm:  1.6843  "
            "\033[38;2;54;234;195mmemory:  1.86GiB(2.35%)  \033[34mtps: 668,661  \033[36mtflops: 47.87  "
            "\033[35mmfu: 4.84%\033[39m");
}

TEST(StepLine, NonFiniteNumbersKeepTheLineWhole) {
  StepMetrics m = example();
  m.loss = kNan;
  m.grad_norm = std::numeric_limits<double>::infinity();
  m.tps = kNan;
  EXPECT_EQ(
      format_step(m, false),
      "step: 10  loss:      nan  grad_norm:     inf  memory:  1.86GiB(2.35%)  tps: nan  tflops: 47.87  mfu: 4.84%");
}

TEST(StepLine, ValidationLineIsTorchTitans) {
  const ValidationMetrics m{
      .step = 5, .loss = 4.825631, .memory_gib = 1.861, .memory_percent = 2.349, .tps = 1234567.5};
  EXPECT_EQ(format_validation(m, false), "validate step:  5  loss:  4.8256  memory:  1.86GiB(2.35%)  tps: 1,234,568");
  EXPECT_EQ(format_validation(m, true),
            "\033[33mvalidate step:  5  \033[32mloss:  4.8256  \033[38;2;54;234;195mmemory:  1.86GiB(2.35%)  "
            "\033[34mtps: 1,234,568\033[39m");
}

TEST(GroupThousands, PutsCommasEveryThreeDigits) {
  EXPECT_EQ(group_thousands(0, 0), "0");
  EXPECT_EQ(group_thousands(999.4, 0), "999");
  EXPECT_EQ(group_thousands(999.5, 0), "1,000");
  EXPECT_EQ(group_thousands(-123456, 0), "-123,456");
  EXPECT_EQ(group_thousands(123, 2), "123.00");
  EXPECT_EQ(group_thousands(1234567.891, 2), "1,234,567.89");
  EXPECT_EQ(group_thousands(-std::numeric_limits<double>::infinity(), 0), "-inf");
}

// Python rounds halves to even.
TEST(GroupThousands, RoundsHalvesToEven) {
  EXPECT_EQ(group_thousands(2.5, 0), "2");
  EXPECT_EQ(group_thousands(3.5, 0), "4");
}

}  // namespace
}  // namespace titan::metrics
