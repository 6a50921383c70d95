#!/usr/bin/env bash
# Sets up what is missing, builds, trains: ./run_train.sh [titan train's arguments]
#   NGPU=1                                  ranks on this machine
#   CONFIG_FILE=configs/llama3/debug.toml   the run; relative to the current folder or to this one
#   LOG_RANK=0                              ranks whose output is shown, separated by commas, or all
#   COMM_MODE=                              fake_backend or local_tensor: one step as one process, NGPU the world's size
#   TITAN_DEPS=.deps                        where the dependencies are unpacked, relative to this folder; checkouts may share it
#   TITAN_CUDA=                             1: CUDA's run-time wheels even without an NVIDIA driver; 0: never
# Runs in this folder: relative paths in arguments and configurations, and ./outputs, are relative to it.
set -euo pipefail

ngpu=${NGPU:-1}
log_rank=${LOG_RANK:-0}
config_file=configs/llama3/debug.toml
if [[ -n ${CONFIG_FILE:-} ]]; then
  config_file=$CONFIG_FILE
  if [[ -e $config_file ]]; then config_file=$(realpath "$config_file"); fi
fi
cd "$(dirname "${BASH_SOURCE[0]}")"
if [[ ! $ngpu =~ ^[1-9][0-9]*$ ]]; then
  echo "run_train.sh: NGPU: must be a number of ranks, 1 or more, got '$ngpu'" >&2
  exit 1
fi

scripts/setup.sh
scripts/build.sh titan

arguments=(train --job.config_file "${config_file#"$PWD"/}")
if [[ -n ${COMM_MODE:-} ]]; then
  export WORLD_SIZE=$ngpu RANK=0 LOCAL_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500  # nobody will be asked
  exec build/titan "${arguments[@]}" --comm.mode="$COMM_MODE" --training.steps=1 "$@"
fi
if ((ngpu > 1)); then
  exec build/titan launch --nproc-per-node "$ngpu" --local-ranks-filter "$log_rank" -- "${arguments[@]}" "$@"
fi
if [[ $log_rank != all && ,$log_rank, != *,0,* ]]; then
  echo "run_train.sh: LOG_RANK=$log_rank: a run with NGPU=1 has rank 0 only; its output is shown" >&2
fi
exec build/titan "${arguments[@]}" "$@"
