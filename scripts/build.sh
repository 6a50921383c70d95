#!/usr/bin/env bash
# build.sh [TARGET...]: builds in build/ (all targets if none is named), as many jobs at once as cores and memory allow.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# A file of ours that includes ATen's headers takes up to 1.3 GB to compile.
cores=$(nproc)
memory_jobs=$(awk '/^MemAvailable:/ {print int($2 / 1.5e6)}' /proc/meminfo)
jobs=$((memory_jobs < cores ? memory_jobs : cores))
targets=()
if (($#)); then targets=(--target "$@"); fi
exec cmake --build build --parallel "$((jobs < 1 ? 1 : jobs))" ${targets[@]+"${targets[@]}"} >&2
