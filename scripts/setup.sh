#!/usr/bin/env bash
# setup.sh [--oracle] [--style]: brings what is missing for a build in build/: Debian packages (as root), the pinned
# wheels in ${TITAN_DEPS:-.deps}, a configured build folder. --oracle adds the Python packages of the oracle tests,
# --style the programs of the style checks. With everything there it returns in a fraction of a second and needs no
# network. Everything it says goes to stderr.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(
  g++ cmake ninja-build ccache git python3-pip                     # tools; pip only unpacks wheels
  libtomlplusplus-dev libcli11-dev nlohmann-json3-dev              # header-only libraries
  libsimdjson-dev libpcre2-dev libutf8proc-dev zlib1g-dev libzstd-dev
  libprotobuf-dev protobuf-compiler                                # TensorBoard's event files
  libgloo-dev                                                      # Gloo's headers, which the torch wheel lacks
  libgtest-dev libbenchmark-dev
)
oracle=false
for argument in "$@"; do
  case $argument in
    --oracle) oracle=true; packages+=(python3.11) ;;
    --style) packages+=(clang-format clang-tidy shellcheck) ;;
    *) echo "setup.sh: unknown argument '$argument'; known are --oracle and --style" >&2; exit 2 ;;
  esac
done

# --- Debian packages ---
if command -v dpkg-query >/dev/null; then
  # dpkg-query names unknown packages on stderr and fails; what is installed it prints all the same.
  installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "${packages[@]}" 2>/dev/null || true)
  missing=()
  for package in "${packages[@]}"; do
    [[ $'\n'$installed$'\n' == *$'\n'"$package installed"$'\n'* ]] || missing+=("$package")
  done
  if ((${#missing[@]})); then
    if (($(id -u) != 0)); then
      echo "Debian packages are missing. As root, run:" >&2
      echo "  apt-get install --no-install-recommends ${missing[*]}" >&2
      exit 1
    fi
    echo "==> Debian packages: ${missing[*]}" >&2
    apt-get update >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
      "${missing[@]}" >&2
  fi
else
  echo "setup.sh: this is no Debian system; if the build names missing headers, install what these packages have:" \
    "${packages[*]}" >&2
fi

# --- wheels ---
deps=${TITAN_DEPS:-$PWD/.deps}
mkdir -p "$deps"
deps=$(cd "$deps" && pwd)
wheel_sets=(scripts/wheels/cpu.txt)
cuda=${TITAN_CUDA:-}
if [[ -z $cuda ]] && { [[ -e /proc/driver/nvidia/version ]] || command -v nvidia-smi >/dev/null; }; then
  cuda=1
fi
# `import torch` in Python loads the CUDA half even where there is no GPU.
if [[ $cuda == 1 ]] || $oracle; then
  wheel_sets+=(scripts/wheels/cuda.txt)
fi
# A GPU needs libtitan_cuda.so, and that nvcc 13: the wheels have one.
if [[ $cuda == 1 ]] && ! nvcc --version 2>/dev/null | grep -q 'release 13\.'; then
  wheel_sets+=(scripts/wheels/nvcc.txt)
fi
scripts/install_wheels.sh "$deps/wheels" "${wheel_sets[@]}"
if $oracle; then
  scripts/install_wheels.sh "$deps/oracle" scripts/wheels/oracle.txt
fi

# --- configure ---
cached() { sed -n "s|^$1:[A-Z]*=||p" build/CMakeCache.txt 2>/dev/null || true; }
brought_nvcc=false
if [[ -x $deps/wheels/nvidia/cu13/bin/nvcc && $(cached TITAN_NVCC) == *NOTFOUND ]]; then brought_nvcc=true; fi
if $brought_nvcc || [[ ! -f build/build.ninja || $(cached TITAN_DEPS) != "$deps" || $(cached CMAKE_HOME_DIRECTORY) != "$PWD" ]]; then
  echo "==> configure" >&2
  cmake --fresh --preset release -DTITAN_DEPS="$deps" >&2
fi
