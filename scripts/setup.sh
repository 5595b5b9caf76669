#!/usr/bin/env bash
# Makes the virtual environment and installs the project into it; quick when that is done already.
#
#   bash scripts/setup.sh [--extras cpu,dev] [--venv .venv]
#
# PYTHON chooses the interpreter. Where pip does not find torch's CPU build by itself, it is taken from PyTorch's own
# index of CPU wheels; W2W_TORCH_INDEX names another one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extras="cpu,dev"
venv=".venv"
while [ $# -gt 0 ]; do
  case "$1" in
    --extras) extras="$2"; shift 2 ;;
    --venv) venv="$2"; shift 2 ;;
    *) echo "setup: unknown option $1; usage: bash scripts/setup.sh [--extras cpu,dev] [--venv .venv]" >&2; exit 2 ;;
  esac
done
torch_index="${W2W_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
python="${PYTHON:-python3}"

fail() { echo "setup: $*" >&2; exit 2; }

command -v "$python" >/dev/null || fail "$python not found; set PYTHON to a Python 3.11 or newer"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$("$python" --version) is too old; set PYTHON to a Python 3.11 or newer"

# Everything installed is decided by the project file, the extras and the interpreter: the same stamp, nothing to do.
stamp="$(cat pyproject.toml scripts/setup.sh | sha256sum | cut -c1-16)"
has() { case ",$extras," in *",$1,"*) return 0 ;; *) return 1 ;; esac; }
done_all=1
for extra in base ${extras//,/ }; do
  [ "$(cat "$venv/.w2w-$extra" 2>/dev/null)" = "$stamp" ] || done_all=0
done
if [ "$done_all" = 1 ] && "$venv/bin/python" -c 'import weak2wise' 2>/dev/null; then
  exit 0
fi

need=1
has cpu && need=12
free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
[ "$free" -ge "$need" ] || fail "$free GiB free here; $need are needed"

if [ ! -x "$venv/bin/python" ]; then
  echo "setup: making $venv"
  "$python" -m venv "$venv" || fail "the venv module is missing; install it (Debian: apt-get install python3-venv)"
fi
pip=("$venv/bin/python" -m pip --disable-pip-version-check --quiet)
"${pip[@]}" install --upgrade pip || fail "pip cannot reach its package index; check the network"

install=("${pip[@]}" install --editable ".[$extras]")
if has cpu; then
  torch="$(sed -n 's/^cpu = .*torch==\([0-9.]*\).*/\1/p' pyproject.toml)"
  echo "setup: installing with extras $extras (a few minutes the first time)"
  # The CPU build's version ends in +cpu, and not every package index carries it.
  if ! "${pip[@]}" download --no-deps --dest "$(mktemp -d)" "torch==$torch+cpu" >/dev/null 2>&1; then
    echo "setup: torch's CPU build is not on pip's index; taking it from $torch_index"
    install+=(--extra-index-url "$torch_index")
  fi
else
  echo "setup: installing with extras $extras"
fi
"${install[@]}" || fail "the installation failed; pip's message is above"
if has cpu; then
  # Text needs none of these, and one built for another torch breaks the import of transformers.
  "${pip[@]}" uninstall --yes torchvision torchaudio torchcodec >/dev/null 2>&1 || true
fi
for extra in base ${extras//,/ }; do
  echo "$stamp" >"$venv/.w2w-$extra"
done
echo "setup: done"
