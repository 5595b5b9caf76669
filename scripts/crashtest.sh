#!/usr/bin/env bash
# Stop the engine in every way, many times, and check that nothing is lost or paid twice: scripts/crashtest.sh [--kills 200] [--seed 0]
#
# Sets everything up first. Full disks are real if this user may mount a small one (root); otherwise they are simulated.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd -- "$ROOT"
bash scripts/setup.sh --extras dev
exec "$PY" -m tests.run.crash "$@"
