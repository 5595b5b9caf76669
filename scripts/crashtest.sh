#!/usr/bin/env bash
# Stop the engine in every way, again and again, and check what that costs: scripts/crashtest.sh [--kills 200] [--seed 0]
#
# Sets everything up first. Full disks are real where this user may mount a small one (root); else they are simulated.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd -- "$ROOT"
bash scripts/setup.sh --extras dev
exec "$PY" -m tests.run.crash "$@"
