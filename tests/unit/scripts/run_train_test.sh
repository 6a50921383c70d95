#!/usr/bin/env bash
# What run_train.sh and run_tests.sh hand on, on a make-believe system (sandbox.sh) whose titan prints its arguments
# and returns 7.
# shellcheck source=tests/unit/scripts/sandbox.sh
source "$(dirname "${BASH_SOURCE[0]}")/sandbox.sh" "$1"

# Standard output is titan's alone; everything else goes to stderr.
train() {
  status=0
  "$checkout/run_train.sh" "$@" 2>"$sandbox/stderr" >"$sandbox/stdout" || status=$?
}
output() { cat "$sandbox/stdout"; }

test_trains_the_debug_configuration_by_default() {
  train
  expect_equal "$status" 7
  expect_equal "$(output)" "<train><--job.config_file><configs/llama3/debug.toml>"
}

test_builds_only_the_program() {
  train
  expect_contains "$(cat "$log")" "--target titan"
}

test_arguments_pass_through_unchanged() {
  train --training.steps=3 --job.description "two words"
  expect_contains "$(output)" "<--training.steps=3><--job.description><two words>"
}

test_a_configuration_is_found_from_the_callers_folder() {
  touch "$sandbox/mine.toml"
  pushd "$sandbox" >/dev/null
  CONFIG_FILE=mine.toml train
  expect_contains "$(output)" "<--job.config_file><$sandbox/mine.toml>"
  CONFIG_FILE=configs/llama3/debug.toml train
  expect_contains "$(output)" "<--job.config_file><configs/llama3/debug.toml>"
  popd >/dev/null
}

test_several_ranks_go_through_launch() {
  NGPU=4 LOG_RANK=0,1 train --training.steps=3
  expect_equal "$(output)" "<launch><--nproc-per-node><4><--local-ranks-filter><0,1><--><train><--job.config_file><configs/llama3/debug.toml><--training.steps=3>"
}

test_a_comm_mode_is_one_process_and_one_step() {
  COMM_MODE=fake_backend NGPU=8 train
  expect_equal "$(output)" "<train><--job.config_file><configs/llama3/debug.toml><--comm.mode=fake_backend><--training.steps=1>"
}

test_ngpu_must_be_a_positive_number() {
  for bad in 0 -1 two 1.5; do
    NGPU=$bad train
    expect_equal "$status" 1
    expect_contains "$(cat "$sandbox/stderr")" "NGPU: must be a number of ranks, 1 or more, got '$bad'"
    expect_equal "$(output)" ""
  done
}

test_a_log_rank_that_does_not_exist_is_said() {
  LOG_RANK=3 train
  expect_contains "$(cat "$sandbox/stderr")" "LOG_RANK=3"
  LOG_RANK=all train
  expect_lacks "$(cat "$sandbox/stderr")" "LOG_RANK"
}

test_tests_run_without_oracle_and_gpu() {
  "$checkout/run_tests.sh" -R nn --verbose 2>/dev/null
  expect_contains "$(cat "$log")" "--label-exclude ^(oracle|gpu)\$ -R nn --verbose"
  expect_lacks "$(cat "$log")" "transformers"
}

test_all_tests_install_the_oracle_and_exclude_nothing() {
  "$checkout/run_tests.sh" --all -R nn 2>/dev/null
  expect_contains "$(cat "$log")" "transformers=="
  expect_lacks "$(cat "$log")" "--label-exclude"
  expect_contains "$(grep '^ctest' "$log")" "-R nn"
  expect_lacks "$(grep '^ctest' "$log")" "--all"
}

run_tests
