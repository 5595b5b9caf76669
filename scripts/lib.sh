# shellcheck shell=bash
# Sourced by the other scripts. Nothing here needs more than bash, coreutils and Python.

ROOT="$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)"
VENV="${W2W_VENV:-$ROOT/.venv}"
# shellcheck disable=SC2034 # used by the scripts that source this
PY="$VENV/bin/python"

say() { printf '\n== %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# The folder that fetch_models.py puts models into.
# shellcheck disable=SC2034
MODELS="${XDG_CACHE_HOME:-$HOME/.cache}/weak2wise/models"
