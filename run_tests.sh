#!/usr/bin/env bash
# Sets up what is missing, builds, tests: ./run_tests.sh [--all] [ctest's arguments, as -R NAME]
# --all adds the tests that compare with Python packages (label oracle; the packages go into .deps/oracle) and those
# that need a GPU (label gpu; they skip without one). TITAN_DEPS and TITAN_CUDA: as in run_train.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

setup=()
select=(--label-exclude '^(oracle|gpu)$')
arguments=()
for argument in "$@"; do
  if [[ $argument == --all ]]; then
    setup=(--oracle)
    export TITAN_TEST_ALL=1  # tests that repeat themselves then do so more often
    select=()
  else
    arguments+=("$argument")
  fi
done

scripts/setup.sh ${setup[@]+"${setup[@]}"}
scripts/build.sh
exec ctest --test-dir build --output-on-failure --no-tests=error --parallel "$(nproc)" \
  ${select[@]+"${select[@]}"} ${arguments[@]+"${arguments[@]}"}
