#!/usr/bin/env bash
# loops_symbols_test.sh CAPABILITY OBJECT...: fails if an object compiled for one instruction set offers the linker an
# inline function that other objects may have too ([Note: inline functions in loops] in titan/kernels/cpu/loops.h).
# DW.ref.* is data: where exceptions find their handler.
set -euo pipefail
capability=$1
shift
(($# > 0))
shared=$(nm --demangle --defined-only "$@" | awk '$2 ~ /^[WVu]$/' | grep -vE "::$capability::| DW\.ref\." || true)
if [[ -n $shared ]]; then
  printf 'compiled for %s, and the linker may keep them for every CPU:\n%s\n' "$capability" "$shared" >&2
  exit 1
fi
