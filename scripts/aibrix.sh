#!/usr/bin/env bash
# Batches against a server that is not ours: scripts/aibrix.sh
#
# Runs weak2wise with `batch:` against AIBrix's metadata service, which stands in front of the loopback server: once
# through, with a window that is over, killed and interrupted. Prints a table, and fails if anything was paid twice or the
# output file is not that of an ordinary run. Takes about five minutes.
#
# AIBrix has old pins, so it gets an environment of its own, W2W_AIBRIX (default: in the cache folder).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

AIBRIX="${W2W_AIBRIX:-${XDG_CACHE_HOME:-$HOME/.cache}/weak2wise/aibrix-0.8.0}"

cd -- "$ROOT"
bash scripts/setup.sh --extras dev
if [[ ! -x $AIBRIX/bin/aibrix_metadata ]]; then
    say "AIBrix into $AIBRIX"
    "$PY" -m venv --clear "$AIBRIX"
    "$AIBRIX/bin/pip" install --quiet aibrix==0.8.0
fi
exec "$PY" -m tests.run.batch_aibrix --python "$AIBRIX/bin/python" "$@"
