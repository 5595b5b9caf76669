#!/usr/bin/env bash
# Kill and freeze hosts, nodes and the driver of runs on a Ray cluster on this machine: scripts/clustertest.sh [--kills 100] [--seed 0]
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd -- "$ROOT"
bash scripts/setup.sh --extras dev,ray
exec "$PY" -m tests.cluster.chaos "$@"
