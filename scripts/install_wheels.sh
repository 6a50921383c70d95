#!/usr/bin/env bash
# install_wheels.sh FOLDER REQUIREMENTS...: unpacks pinned wheels into FOLDER, for Python 3.11 on x86-64 whatever
# Python runs pip. Does nothing, and needs no network, when FOLDER has them all: FOLDER/.pinned names what is there.
# Wheels are unpacked beside FOLDER and moved in, so that a broken download leaves what was there; a lock makes two
# checkouts that share FOLDER take turns.
set -euo pipefail
export LC_ALL=C

if (($# < 2)); then
  echo "usage: scripts/install_wheels.sh FOLDER REQUIREMENTS..." >&2
  exit 2
fi
folder=$1
shift
stamp=$folder/.pinned
wanted=$(sed -e '/^#/d' -e '/^$/d' "$@" | sort)

missing() {
  if [[ -f $stamp ]]; then
    comm -23 <(printf '%s\n' "$wanted") "$stamp"
  else
    printf '%s\n' "$wanted"
  fi
}

[[ -n $(missing) ]] || exit 0

mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
if ! flock -n 9; then
  echo "==> waiting for another set-up that is filling $folder" >&2
  flock 9
fi
to_install=$(missing)  # again: the other one may have brought them
[[ -n $to_install ]] || exit 0

# A name that is there under another pin: old and new files of one package must not mix, so everything is unpacked anew.
replace=true
if [[ -f $stamp ]]; then
  replace=false
  while IFS= read -r requirement; do
    if grep -q "^${requirement%%==*}==" "$stamp"; then
      replace=true
      to_install=$wanted
      break
    fi
  done <<<"$to_install"
fi

rm -rf "$folder".tmp.*  # of a set-up that was killed; the lock says that nobody uses them
work=$(mktemp -d "$folder.tmp.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/tmp"
printf '%s\n' "$to_install" >"$work/requirements.txt"

python=python3
"$python" -m pip --version >/dev/null 2>&1 || python=/usr/bin/python3
platforms=()
for minor in {28..17} 12 5; do
  platforms+=(--platform "manylinux_2_${minor}_x86_64")
done
platforms+=(--platform manylinux2014_x86_64)

echo "==> wheels: $(wc -l <"$work/requirements.txt") into $folder (minutes, the download is large)" >&2
if ! TMPDIR=$work/tmp "$python" -m pip install --no-deps --no-compile --no-cache-dir --no-input --require-hashes \
  --disable-pip-version-check --root-user-action=ignore --only-binary=:all: --python-version 3.11 --implementation cp "${platforms[@]}" \
  --target "$work/new" -r "$work/requirements.txt" >&2; then
  echo "install_wheels.sh: pip could not bring the wheels into $folder; see above, then run the same command again" >&2
  exit 1
fi

if $replace; then
  printf '%s\n' "$wanted" >"$work/new/.pinned"
  if [[ -e $folder ]]; then mv "$folder" "$work/old"; fi
  mv "$work/new" "$folder"
else
  cp -rlf "$work/new/." "$folder/"
  sort -u "$stamp" "$work/requirements.txt" >"$work/pinned"
  mv "$work/pinned" "$stamp"
fi
