#!/usr/bin/env bash
# Does a small model get better by what weak2wise synthesises for it? From a bare machine to an answer with its
# uncertainty, with real models, no GPU, no API key and no model hub. On two quiet cores it takes about 90 minutes.
#
#   bash scripts/prove.sh [--small] [--questions FILE] [--arms winners,random,shortest]
#
# --small      a few questions and steps, about 5 minutes: shows that it works, and proves nothing
# --questions  a file with one {"question": …, "answer": …} a line, in place of the generated word problems; a third of
#              them is held out
# --arms       what models are trained on; the first is claimed to help (default: winners)
#
# The strong LLM is Qwen2.5-Coder-0.5B, the weak one SmolLM2-135M. The result is proof/proof.html in the work_dir.
# After an interruption, run it again: it goes on. W2W_OUT is the folder for everything (default ./prove-out).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
# shellcheck source=scripts/serve.sh
source "$ROOT/scripts/serve.sh"
export TQDM_DISABLE=1 HF_HUB_OFFLINE=1 # no progress bars, no requests to a model hub

small="" questions="" arms=winners
while (($#)); do
    case "$1" in
        --small) small=1 && shift ;;
        --questions) questions="$(realpath -- "${2?--questions needs a file}")" && shift 2 ;;
        --arms) arms="${2?--arms needs a list}" && shift 2 ;;
        *) die "unknown option $1; usage: prove.sh [--small] [--questions FILE] [--arms LIST]" ;;
    esac
done
out="${W2W_OUT:-$PWD/prove-out${small:+-small}}"
mkdir -p "$out"
out="$(cd -- "$out" && pwd)"
cd -- "$ROOT"

bash scripts/setup.sh --extras train,cpu
"$PY" scripts/fetch_models.py --models weak,strong

train=160 held_out=300
changes=()
if [[ -n $small ]]; then
    train=12 held_out=12
    changes=(--set params.skip_filter=true --set params.require_faithful=false --set params.n_mask=2
        --set train.max_steps=4 --set "prove.seeds=1")
fi
samples=4
if [[ -n $small ]]; then samples=2; fi
if [[ ! -f $out/questions/held-out.jsonl ]]; then
    "$PY" scripts/prove/questions.py --out "$out/questions" --train "$train" --held-out "$held_out" --level 1 \
        ${questions:+--file "$questions"}
fi
settings=(--config scripts/prove/config.yaml "${changes[@]}"
    --set "model_endpoints.weak.model_name=$MODELS/smollm2-135m-instruct" --set "model_endpoints.weak.dtype=$dtype"
    --set "dataset.input_path=$out/questions/train.jsonl" --set "dataset.work_dir=$out/work"
    --set "prove.held_out=[{questions: \"$out/questions/held-out.jsonl\", samples: $samples}]")
export VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=2 # GiB

# The run first, while the strong LLM is served: one core for each. Training and evaluation then have both.
if [[ ! -f $out/work/summary.json ]]; then
    export OMP_NUM_THREADS=1
    serve_strong "$out/strong-server.log"
    # In its own session the run gets a Ctrl-C only once: from the trap, not also from the terminal.
    say "The run: traces by the strong LLM, scored with SmolLM2-135M as the weak LLM"
    setsid "$PY" -m weak2wise.engine "${settings[@]}" \
        --set "model_endpoints.strong.base_url=http://127.0.0.1:$port/v1" &
    watch_engine "$!" "$out/strong-server.log"
    if ((code == 130)); then say "To go on, run the same command again."; fi
    if ((code > 1)); then exit "$code"; fi
    trap - INT TERM HUP EXIT
    stop_server
    unset OMP_NUM_THREADS
fi

say "Train on it, ask the held-out questions, and compare"
exec "$PY" -m weak2wise.engine prove "$out/work" "${settings[@]}" --arms "$arms"
