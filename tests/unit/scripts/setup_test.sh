#!/usr/bin/env bash
# What scripts/setup.sh and scripts/install_wheels.sh promise, on a make-believe system (sandbox.sh).
# shellcheck source=tests/unit/scripts/sandbox.sh
source "$(dirname "${BASH_SOURCE[0]}")/sandbox.sh" "$1"

setup() { "$checkout/scripts/setup.sh" "$@" 2>"$sandbox/stderr"; }
expect_present() {
  for name in "$@"; do [[ -d $checkout/.deps/wheels/$name ]] || fail "$name is missing"; done
}

test_brings_everything_that_is_missing() {
  MISSING="ninja-build libpcre2-dev" setup
  expect_contains "$(cat "$log")" "apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 ninja-build libpcre2-dev"
  expect_contains "$(cat "$log")" "torch==2.11.0"
  expect_contains "$(cat "$log")" "cmake --fresh --preset release -DTITAN_DEPS=$checkout/.deps"
  expect_equal "$(ls "$checkout/.deps/wheels")" $'nvidia-cuda-cupti\nnvidia-cuda-runtime\ntorch'
}

test_second_run_does_nothing() {
  setup
  : >"$log"
  setup
  expect_equal "$(cat "$log" "$sandbox/stderr")" ""
}

test_without_root_names_the_packages_and_exits_1() {
  local status=0
  MISSING="g++ libgtest-dev" FAKE_UID=1000 setup || status=$?
  expect_equal "$status" 1
  expect_contains "$(cat "$sandbox/stderr")" "apt-get install --no-install-recommends g++ libgtest-dev"
  expect_equal "$(cat "$log")" ""
}

test_cuda_wheels_are_added_beside_those_that_are_there() {
  setup
  : >"$log"
  TITAN_CUDA=1 setup
  expect_contains "$(cat "$log")" "nvidia-nccl-cu13=="
  expect_lacks "$(cat "$log")" "torch=="
  expect_present torch nvidia-nccl-cu13
  : >"$log"
  setup  # without TITAN_CUDA: more than enough is there
  expect_equal "$(cat "$log")" ""
}

test_a_gpu_brings_nvcc_unless_version_13_is_there() {
  stand_in nvcc <<<'echo "Cuda compilation tools, release 12.4, V12.4.131"'
  TITAN_CUDA=1 setup
  expect_contains "$(cat "$log")" "nvidia-cuda-nvcc=="
  rm -rf "$checkout/.deps" "$log"
  stand_in nvcc <<<'echo "Cuda compilation tools, release 13.0, V13.0.88"'
  TITAN_CUDA=1 setup
  expect_lacks "$(cat "$log")" "nvidia-cuda-nvcc=="
  rm "$sandbox/bin/nvcc"
}

test_a_changed_pin_replaces_the_folder() {
  setup
  touch "$checkout/.deps/wheels/torch/file_of_the_old_version"
  cp "$checkout/scripts/wheels/cpu.txt" "$sandbox/cpu.txt"
  sed -i 's/^torch==2.11.0/torch==2.12.0/' "$checkout/scripts/wheels/cpu.txt"
  : >"$log"
  setup
  expect_contains "$(cat "$log")" "torch==2.12.0"
  expect_contains "$(cat "$log")" "nvidia-cuda-cupti=="
  expect_equal "$(ls "$checkout/.deps/wheels/torch")" "pin"
  cp "$sandbox/cpu.txt" "$checkout/scripts/wheels/cpu.txt"
}

test_a_broken_download_leaves_what_was_there() {
  local status=0
  PIP_FAILS=1 setup || status=$?
  expect_equal "$status" 1
  expect_equal "$(cd "$checkout/.deps" && ls)" "wheels.lock"
  setup
  status=0
  TITAN_CUDA=1 PIP_FAILS=1 setup || status=$?
  expect_equal "$status" 1
  expect_equal "$(ls "$checkout/.deps" "$checkout/.deps/wheels")" \
    "$checkout/.deps:"$'\nwheels\nwheels.lock\n\n'"$checkout/.deps/wheels:"$'\nnvidia-cuda-cupti\nnvidia-cuda-runtime\ntorch'
}

test_what_a_killed_setup_left_is_removed() {
  mkdir -p "$checkout/.deps/wheels.tmp.abc/new"
  setup
  expect_equal "$(cd "$checkout/.deps" && ls)" $'wheels\nwheels.lock'
}

test_two_checkouts_share_one_folder_and_unpack_once() {
  export TITAN_DEPS=$sandbox/shared
  mkdir "$TITAN_DEPS"
  exec 8>"$TITAN_DEPS/wheels.lock"
  flock 8  # as the other checkout's set-up does
  setup 8>&- &
  local second=$!
  local deadline=$((SECONDS + 20))
  until grep -q "waiting for another set-up" "$sandbox/stderr" || ((SECONDS > deadline)); do :; done
  expect_contains "$(cat "$sandbox/stderr")" "waiting for another set-up"
  mkdir "$TITAN_DEPS/wheels"
  grep -v '^#' "$checkout/scripts/wheels/cpu.txt" >"$TITAN_DEPS/wheels/.pinned"
  exec 8>&-
  wait "$second"
  unset TITAN_DEPS
  expect_lacks "$(cat "$log")" "pip"
  expect_contains "$(cat "$log")" "-DTITAN_DEPS=$sandbox/shared"
}

test_another_dependency_folder_configures_anew() {
  setup
  : >"$log"
  TITAN_DEPS=$sandbox/shared setup
  expect_contains "$(cat "$log")" "-DTITAN_DEPS=$sandbox/shared"
}

# With CUDA's libraries: Python's `import torch` loads them.
test_oracle_packages_go_into_their_own_folder() {
  setup --oracle
  expect_present torch nvidia-cublas ../oracle/transformers ../oracle/tensorboard
}

test_an_unknown_argument_is_refused() {
  local status=0
  setup --orcale || status=$?
  expect_equal "$status" 2
  expect_contains "$(cat "$sandbox/stderr")" "unknown argument '--orcale'"
}

run_tests
