#!/usr/bin/env bash
# Every check there is, from a fresh clone: sets up, then lint, types, imports, tests.
#
#   bash scripts/test.sh            # everything, real models included
#   bash scripts/test.sh --quick    # no models and no vLLM: an answer in a minute
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

quick=""
case "${1:-}" in
  "") ;;
  --quick) quick=1 ;;
  *) echo "test: unknown option $1; usage: bash scripts/test.sh [--quick]" >&2; exit 2 ;;
esac

heading() { printf '\n== %s\n' "$*"; }

heading setup
bash scripts/setup.sh --extras "$([ -n "$quick" ] && echo dev || echo cpu,dev)"
bin=.venv/bin
heading lint
"$bin/ruff" check .
"$bin/ruff" format --check .
heading types
"$bin/mypy"
heading imports
"$bin/lint-imports"
heading "quick tests"
"$bin/python" -m pytest -m "not slow and not vllm and not gpu" --durations=5
[ -n "$quick" ] && exit 0

heading models
"$bin/python" scripts/fetch_models.py weak strong
models="${XDG_CACHE_HOME:-$HOME/.cache}/weak2wise/models"
export W2W_TEST_WEAK_MODEL="$models/smollm2-135m-instruct" W2W_TEST_STRONG_MODEL="$models/qwen2.5-coder-0.5b-instruct"
heading "slow tests and real models"
"$bin/python" -m pytest -m "(slow or vllm) and not gpu" --durations=10
