#!/usr/bin/env bash
# Sourced by the tests of the scripts: a checkout in a temporary folder whose system is make-believe. pip, dpkg-query,
# apt-get, cmake, ctest and id are stand-ins that write their arguments to $log; nothing leaves the folder.
#   MISSING="a b"  packages that dpkg-query does not know     FAKE_UID=0  who id says we are
#   PIP_FAILS=1    pip leaves half its files and fails
set -euo pipefail

source_dir=$1
sandbox=$(mktemp -d)
trap 'rm -rf "$sandbox"' EXIT
log=$sandbox/log
checkout=$sandbox/checkout
export log MISSING="" FAKE_UID=0 PIP_FAILS="" TITAN_CUDA=0
unset TITAN_DEPS NGPU CONFIG_FILE LOG_RANK COMM_MODE
mkdir -p "$checkout/configs/llama3" "$sandbox/bin"
cp -r "$source_dir/scripts" "$source_dir/run_train.sh" "$source_dir/run_tests.sh" "$checkout/"
touch "$checkout/configs/llama3/debug.toml" "$log"

stand_in() {
  { echo '#!/usr/bin/env bash'; cat; } >"$sandbox/bin/$1"
  chmod +x "$sandbox/bin/$1"
}
stand_in id <<'END'
echo "$FAKE_UID"
END
stand_in dpkg-query <<'END'
status=0
for package in "${@:4}"; do
  if [[ " $MISSING " == *" $package "* ]]; then status=1; else echo "$package installed"; fi
done
exit $status
END
stand_in apt-get <<'END'
echo "apt-get $*" >>"$log"
END
# pip install ... --target DIR -r FILE: one folder for each requirement.
stand_in python3 <<'END'
[[ $* != *--version* || $* == *install* ]] || exit 0
target="" requirements=""
while (($#)); do
  case $1 in
    --target) target=$2 ;;
    -r) requirements=$2 ;;
  esac
  shift
done
echo "pip $(sed 's/ .*//' "$requirements" | tr '\n' ' ')" >>"$log"
while IFS= read -r requirement; do
  mkdir -p "$target/${requirement%%==*}"
  echo "$requirement" >"$target/${requirement%%==*}/pin"
  if [[ -n $PIP_FAILS ]]; then exit 1; fi
done <"$requirements"
END
stand_in cmake <<'END'
echo "cmake $*" >>"$log"
if [[ $* == *--preset* ]]; then
  mkdir -p build
  touch build/build.ninja
  { echo "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD"; printf '%s\n' "$@" | sed -n 's/^-DTITAN_DEPS=/TITAN_DEPS:PATH=/p'; } >build/CMakeCache.txt
  printf '#!/usr/bin/env bash\nprintf "<%%s>" "$@"; echo\nexit 7\n' >build/titan
  chmod +x build/titan
fi
END
stand_in ctest <<'END'
echo "ctest $*" >>"$log"
END
export PATH=$sandbox/bin:$PATH

failures=0
fail() {
  echo "FAILED: $test_name: $*" >&2
  failures=$((failures + 1))
}
expect_equal() { [[ $1 == "$2" ]] || fail "expected '$2', got '$1'"; }
expect_contains() { [[ $1 == *"$2"* ]] || fail "expected '$2' in '$1'"; }
expect_lacks() { [[ $1 != *"$2"* ]] || fail "expected no '$2' in '$1'"; }

# Runs every function named test_*, each in a checkout without build and dependencies, and ends with their verdict.
run_tests() {
  local count=0
  for test_name in $(declare -F | sed -n 's/^declare -f \(test_.*\)/\1/p'); do
    rm -rf "$checkout/build" "$checkout/.deps" "$sandbox/shared"
    : >"$log"
    "$test_name"
    count=$((count + 1))
  done
  echo "$count tests, $failures failed expectations"
  if ((count == 0 || failures > 0)); then exit 1; fi
}
