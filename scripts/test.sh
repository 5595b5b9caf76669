#!/usr/bin/env bash
# Set everything up and run every check: scripts/test.sh [--quick]
#
# --quick leaves out what needs vLLM, models or Ray; it takes a few minutes once set up.
# It stops at the first check that fails, with that check's exit code.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

quick=
case "${1:-}" in
    --quick) quick=1 ;;
    "") ;;
    *) die "unknown option $1; usage: test.sh [--quick]" ;;
esac
cd -- "$ROOT"

extras=dev,cpu,train,ray
if [[ -n $quick ]]; then extras=dev; fi
bash scripts/setup.sh --extras "$extras"

gpu="and not gpu"
if [[ -e /dev/nvidia0 ]]; then gpu=""; fi

say "ruff check" && "$PY" -m ruff check .
say "ruff format" && "$PY" -m ruff format --check .
say "mypy" && "$PY" -m mypy
say "import-linter" && "$VENV/bin/lint-imports"
say "quick tests" && "$PY" -m pytest -n "$(nproc)" --dist worksteal -m "not slow and not vllm $gpu"
if [[ -n $quick ]]; then exit 0; fi

say "Dockerfiles and compose file"
"$VENV/bin/hadolint" docker/Dockerfile docker/Dockerfile.cpu
PATH="$VENV/bin:$PATH" npx --yes dclint@3.1.0 --quiet docker/compose.yaml
# Compose's own check, if it is installed; it needs no Docker engine.
if docker compose version >/dev/null 2>&1; then
    W2W_PAGE_TOKEN=any docker compose --file docker/compose.yaml --profile '*' config --quiet
fi

say "models" && "$PY" scripts/fetch_models.py --models weak,strong
export W2W_TEST_WEAK_MODEL="$MODELS/smollm2-135m-instruct"
export HF_HUB_OFFLINE=1 VLLM_NO_USAGE_STATS=1
say "slow tests" && "$PY" -m pytest -n "$(nproc)" --dist loadfile --timeout 900 -m "slow and not vllm and not ray $gpu"
say "Ray" && "$PY" -m pytest -m ray
say "vLLM" && "$PY" -m pytest --timeout 900 -m "vllm $gpu"
