#!/usr/bin/env bash
# An export loaded by LLaMA-Factory's own loader: scripts/llamafactory.sh [EXPORT_DIR…]
#
# Each EXPORT_DIR is a folder that `weak2wise export --out` wrote; without one, the rows of a small run against the
# loopback server are exported in every layout that has an entry for LLaMA-Factory. The tokenizer is the weak test
# model's. Prints what was loaded, and fails if a row is missing, cut or not as it was exported.
#
# LLaMA-Factory pins older packages, so it gets an environment of its own, W2W_LLAMAFACTORY (default: in the cache folder).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

FACTORY="${W2W_LLAMAFACTORY:-${XDG_CACHE_HOME:-$HOME/.cache}/weak2wise/llamafactory-0.9.5}"
TORCH_INDEX="${W2W_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"

dirs=()
for given in "$@"; do
    dirs+=("$(realpath -- "$given")")
done
cd -- "$ROOT"
bash scripts/setup.sh --extras dev
if [[ ! -x $FACTORY/bin/llamafactory-cli ]]; then
    say "LLaMA-Factory into $FACTORY"
    "$PY" -m venv --clear "$FACTORY"
    pip=("$FACTORY/bin/pip" --disable-pip-version-check install --quiet)
    "${pip[@]}" "torch==2.13.0+cpu" 2>/dev/null || "${pip[@]}" --index-url "$TORCH_INDEX" "torch==2.13.0+cpu"
    "${pip[@]}" "torch==2.13.0+cpu" llamafactory==0.9.5
    # Built for another torch, they cannot be imported. LLaMA-Factory imports torchaudio, but text needs nothing of it.
    "$FACTORY/bin/pip" uninstall --quiet --yes torchvision torchaudio
    touch "$("$FACTORY/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/torchaudio.py"
fi
"$PY" scripts/fetch_models.py --models weak
work="$(mktemp -d)"
trap 'rm -rf -- "$work"' EXIT
if ((${#dirs[@]} == 0)); then
    say "A small run, exported"
    "$PY" -m tests.outputs.exports_for_llamafactory "$work"
    dirs=("$work"/golden-*)
fi
say "Loaded by LLaMA-Factory"
export HF_HUB_OFFLINE=1 HF_DATASETS_CACHE="$work/cache" DISABLE_VERSION_CHECK=1
"$FACTORY/bin/python" scripts/llamafactory_load.py "$MODELS/smollm2-135m-instruct" "${dirs[@]}"
