#!/usr/bin/env bash
# What scripts/run_on_gpu promises, with a make-believe Python package and build.
set -euo pipefail
source_dir=$1
sandbox=$(mktemp -d)
trap 'rm -rf "$sandbox"' EXIT
failures=0
fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
run() { PYTHONPATH=$sandbox/site "$sandbox/scripts/run_on_gpu" "$@" 2>&1; }

mkdir -p "$sandbox/site/torch/lib" "$sandbox/site/nvidia/cudnn/lib" "$sandbox/scripts" "$sandbox/build"
cp "$source_dir/scripts/run_on_gpu" "$sandbox/scripts/"
touch "$sandbox/site/torch/__init__.py"
set_version() { printf "debug = False\n__version__ = '%s'\ncuda = None\n" "$1" >"$sandbox/site/torch/version.py"; }
set_version 2.11.0+cu130

# pack: what is missing is named; what is packed runs with torch's libraries and its own.
output=$(run pack) && fail "packed an empty build"
[[ $output == *"titan is missing: run ./run_tests.sh"* ]] || fail "expected the missing program, got '$output'"
cp "$(command -v env)" "$sandbox/build/titan"
cp "$(command -v env)" "$sandbox/build/test_gpu"
cp "$(command -v env)" "$sandbox/build/libtitan_cuda.so"
run pack "$sandbox/packed" >/dev/null || fail "pack failed"
output=$(run "$sandbox/packed" titan printenv LD_LIBRARY_PATH)
[[ $output == "$sandbox/packed/lib:$sandbox/site/torch/lib:"*"/nvidia/cudnn/lib"* ]] || fail "LD_LIBRARY_PATH is '$output'"
run "$sandbox/packed" titan false && fail "the program's exit code was lost"

# Another torch, or none.
set_version 2.10.0+cu128
output=$(run "$sandbox/packed" titan true) && fail "ran with torch 2.10"
[[ $output == *"expected torch 2.11.0+cu130, got 2.10.0+cu128"* ]] || fail "got '$output'"
rm -r "$sandbox/site/torch"
output=$(PYTHON=/nonexistent/python3 run "$sandbox/packed" titan true) && fail "ran without Python"

# Too large to travel.
head -c 70000000 /dev/urandom >"$sandbox/big"
cat "$(command -v env)" "$sandbox/big" >"$sandbox/build/titan"
rm -r "$sandbox/packed"
mkdir "$sandbox/tools"
# shellcheck disable=SC2016  # the arguments are strip's
printf '#!/bin/sh\ncp "$3" "$2"\n' >"$sandbox/tools/strip"
chmod +x "$sandbox/tools/strip"
output=$(PATH=$sandbox/tools:$PATH run pack "$sandbox/packed") && fail "packed 70 MB"
[[ $output == *"expected 60 at most"* ]] || fail "got '$output'"

echo "run_on_gpu: $failures failed expectations"
((failures == 0))
