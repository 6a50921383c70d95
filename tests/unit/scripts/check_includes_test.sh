#!/usr/bin/env bash
# Each arrow that must not be is found, and nothing else: a small tree, one offending file at a time.
set -euo pipefail

source_dir=$1
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failures=0 count=0
check() { "$source_dir/scripts/check_includes" "$tree"; }

write() {
  mkdir -p "$tree/$(dirname "$1")"
  printf '%s\n' "$2" >"$tree/$1"
}
# expect_wrong FILE LINE MESSAGE: FILE with LINE as its second line is refused, with its place and MESSAGE.
expect_wrong() {
  local output status=0
  count=$((count + 1))
  write "$1" "// A file."$'\n'"$2"
  output=$(check) || status=$?
  if ((status != 1)) || [[ $output != "$1:2: "*"$3"* ]]; then
    echo "FAILED: $1 with '$2': expected '$1:2: ...$3', got exit $status and '$output'" >&2
    failures=$((failures + 1))
  fi
  rm "$tree/$1"
}
expect_right() {
  local output
  count=$((count + 1))
  write "$1" "$2"
  if ! output=$(check); then
    echo "FAILED: $1 with '$2' must be accepted, got '$output'" >&2
    failures=$((failures + 1))
  fi
  rm "$tree/$1"
}
expect_bad_name() {
  count=$((count + 1))
  write "$1" ""
  if check >/dev/null; then
    echo "FAILED: the name $1 must be refused" >&2
    failures=$((failures + 1))
  fi
  rm -r "${tree:?}/$1"
}

write titan/nn/module.h '#include "titan/kernels/adam.h"'
write titan/models/registry.cpp '#include "titan/models/llama3/model.h"'
write cli/main.cpp '#include "titan/train/trainer.h"'

expect_wrong titan/nn/linear.h '#include "titan/distributed/mesh.h"' "nn may not include titan/distributed/mesh.h"
expect_wrong titan/nn/linear.h '#  include "titan/config/job_config.h"' "nn may not include titan/config/job_config.h"
expect_wrong titan/parallel/fsdp/state.cpp '#include "titan/models/llama3/model.h"' "parallel may not include"
expect_wrong titan/train/trainer.cpp '#include "titan/models/llama3/model.h"' "train may not include"
expect_wrong titan/train/trainer.cpp '#include "titan/parallel/fsdp/state.h"' "train may not include"
expect_wrong titan/kernels/adam.cpp '#include "titan/nn/module.h"' "kernels may not include"
expect_wrong titan/logging/logger.cpp '#include "titan/config/job_config.h"' "logging may not include"
expect_wrong titan/models/llama3/model.cpp '#include "titan/parallel/fsdp/state.h"' "only parallelize.* and sharding.*"
expect_wrong titan/models/llama3/model.cpp '#include "titan/config/job_config.h"' "model.* of a model includes nn only"
expect_wrong titan/models/llama3/model.cpp '#include "titan/models/qwen3/model.h"' "may not include another one"
expect_wrong titan/models/decoder.cpp '#include "titan/parallel/fsdp/state.h"' "only parallelize.* and sharding.*"
expect_wrong titan/models/spec.cpp '#include "titan/models/llama3/model.h"' "only the registry"
expect_wrong titan/data/loader.cpp '#include "cli/verbs.h"' "titan/ may not include cli/verbs.h"
expect_wrong titan/data/loader.cpp '#include "loader.h"' "write the path from the root"
expect_wrong titan/data/loader.cpp '#include "experiments/x/y.h"' "only experiments/"
expect_wrong titan/data/loader.cpp '#include <torch/torch.h>' "banned outside tests"
expect_wrong cli/train.cpp '#include "torch/extension.h"' "banned outside tests"
expect_wrong cli/train.cpp '#include "tests/support/ranks.h"' "only tests may include"
expect_wrong titan/nn/linear.cpp '#include <cuda_runtime.h>' "CUDA code lives in titan/kernels/"
count=$((count + 1))
write titan/sundries/x.h ""
if [[ $(check) != *"titan/sundries/ is not in the table"* ]]; then
  echo "FAILED: a folder that the table does not know must be refused" >&2
  failures=$((failures + 1))
fi
rm -r "$tree/titan/sundries"

expect_right titan/models/llama3/parallelize.cpp '#include "titan/parallel/fsdp/state.h"'
expect_right titan/models/parallelize.cpp '#include "titan/parallel/fsdp/state.h"'
expect_right titan/models/decoder_sharding.h '#include "titan/parallel/tensor/plan.h"'
expect_right titan/models/llama3/model.cpp '#include "titan/nn/module.h"'
expect_right titan/parallel/fsdp/state.cpp '#include "titan/parallel/tensor/plan.h"'
expect_right titan/kernels/adam.cu '#include <cuda_runtime.h>'
expect_right titan/metrics/tensorboard.cpp '#include "event.pb.h"'
expect_right tests/unit/nn/linear_test.cpp '#include <torch/torch.h>'
expect_right titan/data/loader.cpp '// #include "titan/train/trainer.h" in a comment'

expect_bad_name titan/nn/utils.h
expect_bad_name titan/nn/tensor_helpers.cpp
expect_bad_name titan/nn/common/x.h
expect_bad_name tests/unit/mesh_manager_test.cpp
expect_bad_name titan/nn/LinearLayer.h

# tsort fails on a loop, so the table itself goes one way.
count=$((count + 1))
if ! "$source_dir/scripts/check_includes" --table | tsort >/dev/null; then failures=$((failures + 1)); fi

echo "$count checks, $failures failed"
((failures == 0))
