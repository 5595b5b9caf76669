#!/usr/bin/env bash
# Write the lock files of the images and of the development environment: scripts/lock.sh [uv's options, for example --upgrade]
#
# docker/requirements-cpu.lock  everything that the CPU image installs, but for PyTorch: setup.sh installs its CPU build,
#                               which another index has
# docker/requirements.lock      what the GPU image installs beside vLLM's own packages; the same versions, so that they
#                               suit vLLM of the same version
# requirements-dev.lock         what tests and benches need, again but for PyTorch:
#                               scripts/setup.sh --extras dev,cpu,train,ray --locked requirements-dev.lock
#
# Each has the exact version and the SHA-256 of every package, and no index. Needs uv (pip install uv). Without
# --upgrade, versions stay as they are as long as pyproject.toml allows them. UV_FIND_LINKS: a folder or an index page
# with torch's CPU build, if the default index lacks it.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

command -v uv >/dev/null || die "uv not found; pip install uv"
cd -- "$ROOT"
export UV_FIND_LINKS="${UV_FIND_LINKS:-https://download.pytorch.org/whl/cpu/torch/}"
# setup.sh takes them away again: built for another torch they break `import transformers`.
left_out=(--no-emit-package=torch{,vision,audio,codec})
# Kernels for GPUs, 999 MB: xgrammar names it, and neither it nor vLLM imports it on a CPU.
left_out+=(--no-emit-package=triton)
options=(--quiet --no-config --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links)
options+=(--python-platform x86_64-manylinux_2_28 --custom-compile-command "bash scripts/lock.sh" "$@")
uv pip compile pyproject.toml --extra cpu --extra formats --extra ray --python-version 3.11 "${left_out[@]}" \
    "${options[@]}" --output-file docker/requirements-cpu.lock
uv pip compile pyproject.toml --extra formats --extra ray --python-version 3.12 --constraints docker/requirements-cpu.lock \
    "${options[@]}" --output-file docker/requirements.lock
uv pip compile pyproject.toml --extra dev --extra cpu --extra train --extra ray --python-version 3.11 "${left_out[@]}" \
    --constraints docker/requirements-cpu.lock "${options[@]}" --output-file requirements-dev.lock
