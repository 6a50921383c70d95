#include "titan/launch/first_error.h"

#include <gtest/gtest.h>

#include <initializer_list>

namespace titan::launch {
namespace {

std::string first_error_of(std::initializer_list<const char*> lines) {
  FirstError error;
  const auto now = FirstError::Clock::now();
  for (const char* line : lines) error.add_stderr(line, now);
  return error.line();
}

TEST(FirstError, IsTheMessageNotWhatStandsAroundIt) {
  EXPECT_EQ(first_error_of({"optimizer.lr: must be at least 0, got -1; use 3e-4", "training.steps: expected a number"}),
            "optimizer.lr: must be at least 0, got -1; use 3e-4");
  EXPECT_EQ(first_error_of({"[W1123 07:16:00.1 socket.cpp:752] failed to connect", "titan train: it broke", "at f()"}),
            "titan train: it broke");
  EXPECT_EQ(first_error_of({"terminate called after throwing an instance of 'c10::Error'", "  what():  it broke"}),
            "what():  it broke");
  EXPECT_EQ(first_error_of({"=================", "==7==ERROR: AddressSanitizer: heap-use-after-free", "    #0 0x1"}),
            "==7==ERROR: AddressSanitizer: heap-use-after-free");
}

TEST(FirstError, IsFoundBehindChatter) {
  EXPECT_EQ(first_error_of({"loading the tokenizer", "cannot read tokenizer.json", "exception at g()"}),
            "cannot read tokenizer.json");
}

TEST(FirstError, WithoutAWordOfErrorIsTheFirstLine) {
  EXPECT_EQ(first_error_of({"", "  out of luck", "today"}), "out of luck");
}

TEST(FirstError, NothingSaidIsEmpty) { EXPECT_EQ(first_error_of({"", "  ", "-----"}), ""); }

TEST(FirstError, AnOldWarningIsNotTheError) {
  FirstError error;
  const auto start = FirstError::Clock::now();
  error.add_stderr("profiler: failed to find a GPU", start);
  error.add_stderr("titan train: the disk is full: error", start + std::chrono::seconds(60));
  error.add_stderr("another error", start + std::chrono::seconds(61));
  EXPECT_EQ(error.line(), "titan train: the disk is full: error");
}

TEST(FirstError, StdoutCountsOnlyWithoutStderr) {
  FirstError error;
  error.add_stdout("[titan] 2026-01-01 00:00:00,000 - root - ERROR - first");
  error.add_stdout("[titan] 2026-01-01 00:00:00,000 - root - ERROR - last");
  error.add_stdout("[titan] 2026-01-01 00:00:00,000 - root - INFO - step: 1");
  EXPECT_EQ(error.line(), "[titan] 2026-01-01 00:00:00,000 - root - ERROR - last");
  error.add_stderr("why", FirstError::Clock::now());
  EXPECT_EQ(error.line(), "why");
}

TEST(FirstError, LongLinesAreCut) {
  const std::string line = first_error_of({std::string(5000, 'x').c_str()});
  EXPECT_EQ(line, std::string(1000, 'x') + "...");
}

}  // namespace
}  // namespace titan::launch
