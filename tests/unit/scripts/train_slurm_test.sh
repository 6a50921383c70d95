#!/usr/bin/env bash
# What train.slurm hands to srun, on a make-believe system (sandbox.sh) whose srun prints its arguments and returns 7.
# shellcheck source=tests/unit/scripts/sandbox.sh
source "$(dirname "${BASH_SOURCE[0]}")/sandbox.sh" "$1"

stand_in scontrol <<'END'
[[ $* == "show hostnames node[3-4]" ]] && printf 'node3\nnode4\n'
END
stand_in srun <<'END'
printf '<%s>' "$@"
echo
echo "MASTER_ADDR=$MASTER_ADDR MASTER_PORT=$MASTER_PORT OMP_NUM_THREADS=$OMP_NUM_THREADS SRUN_CPUS_PER_TASK=$SRUN_CPUS_PER_TASK"
exit 7
END
unset OMP_NUM_THREADS
export SLURM_SUBMIT_DIR=$checkout SLURM_JOB_NODELIST="node[3-4]" SLURM_JOB_ID=123456 SLURM_CPUS_PER_TASK=12

submit() {
  mkdir -p "$checkout/build"
  touch "$checkout/build/titan"
  chmod +x "$checkout/build/titan"
  run "$@"
}
# As sbatch does, a copy runs, elsewhere.
run() {
  cp "$checkout/scripts/train.slurm" "$sandbox/slurm_script"
  status=0
  bash "$sandbox/slurm_script" "$@" >"$sandbox/stdout" 2>"$sandbox/stderr" || status=$?
  output=$(cat "$sandbox/stdout" "$sandbox/stderr")
}

test_each_rank_is_titan_train_and_its_code_is_the_jobs() {
  submit --training.steps=3 --job.description "two words"
  expect_equal "$status" 7
  expect_contains "$output" "<build/titan><train><--job.config_file><configs/llama3/debug.toml><--training.steps=3><--job.description><two words>"
}

test_ranks_meet_on_the_first_machine() {
  submit
  expect_contains "$output" "MASTER_ADDR=node3 MASTER_PORT=23456"
}

test_each_rank_gets_its_cores() {
  submit
  expect_contains "$output" "OMP_NUM_THREADS=12 SRUN_CPUS_PER_TASK=12"
  OMP_NUM_THREADS=5 submit
  expect_contains "$output" "OMP_NUM_THREADS=5 SRUN_CPUS_PER_TASK=12"
}

test_the_configuration_can_be_chosen() {
  CONFIG_FILE=configs/llama3/8b.toml submit
  expect_contains "$output" "<--job.config_file><configs/llama3/8b.toml>"
}

test_a_missing_program_is_said_on_one_line() {
  run
  expect_equal "$status" 1
  expect_contains "$output" "build/titan is missing"
  expect_equal "$(wc -l <"$sandbox/stderr")" 1
}

run_tests
