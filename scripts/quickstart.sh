#!/usr/bin/env bash
# From a bare machine to a real SFT data set made by real LLMs, with no GPU, no API key and no model hub.
#
#   bash scripts/quickstart.sh [QUESTIONS.jsonl]
#
# QUESTIONS.jsonl has one {"question": …, "answer": …} a line; without it, the first eight of scripts/quickstart are used.
# After an interruption, run it again: it resumes. W2W_OUT is the folder for the results (default ./quickstart-out).
set -euo pipefail
# shellcheck source=scripts/lib.sh
source "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
export TQDM_DISABLE=1 HF_HUB_OFFLINE=1 # no progress bars, no requests to a model hub

few=8 # of our own questions: enough to see, and done in a minute
if (($#)); then few=; fi
questions="$(realpath -- "${1:-$ROOT/scripts/quickstart/questions.jsonl}")"
out="${W2W_OUT:-$PWD/quickstart-out}"
mkdir -p "$out"
out="$(cd -- "$out" && pwd)"
cd -- "$ROOT"

bash scripts/setup.sh --extras cpu
"$PY" scripts/fetch_models.py --models weak,strong

# bfloat16 halves the memory, but a processor that cannot compute with it is several times slower than with float32.
dtype=float32
if grep -qm1 -e avx512_bf16 -e amx_bf16 /proc/cpuinfo 2>/dev/null; then dtype=bfloat16; fi
# One core each: otherwise each vLLM would use both.
export OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=2 # GiB
port="$("$PY" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
say "The strong LLM's server on 127.0.0.1:$port; its log: $out/strong-server.log"
setsid taskset -c 0 "$PY" -m vllm.entrypoints.openai.api_server \
    --model "$MODELS/qwen2.5-coder-0.5b-instruct" --served-model-name strong --host 127.0.0.1 --port "$port" \
    --dtype "$dtype" --max-model-len 4096 --max-num-batched-tokens 4096 --max-num-seqs 32 \
    --enforce-eager --no-enable-chunked-prefill \
    --distributed-executor-backend vllm.v1.executor.uniproc_executor.UniProcExecutor >"$out/strong-server.log" 2>&1 &
server=$!
begun=$SECONDS said=0
server_ended() {
    tail -n 20 "$out/strong-server.log" >&2
    die "the strong LLM's server ended; the end of its log is above"
}
stop_server() {
    local signal
    for signal in TERM KILL; do
        kill "-$signal" -- "-$server" 2>/dev/null || return 0
        for _ in $(seq 50); do
            sleep 0.1
            kill -0 -- "-$server" 2>/dev/null || return 0
        done
    done
}
trap stop_server EXIT
trap 'say "To go on, run the same command again."; exit 130' INT TERM HUP
answers() { "$PY" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' "http://127.0.0.1:$port/health" 2>/dev/null; }
until answers; do
    kill -0 "$server" 2>/dev/null || server_ended
    sleep 1
    ((seconds = SECONDS - begun)) || true
    if ((seconds >= said + 10)); then
        printf '   loading (%s s)\n' "$seconds"
        said=$seconds
    fi
done

# In its own session the engine gets a Ctrl-C only once: from the trap, not also from the terminal.
say "The engine, with SmolLM2-135M embedded as the weak LLM${few:+; the first $few questions}"
setsid "$PY" -m weak2wise.engine --config scripts/quickstart/config.yaml ${few:+--limit "$few"} \
    --set "model_endpoints.strong.base_url=http://127.0.0.1:$port/v1" \
    --set "model_endpoints.weak.model_name=$MODELS/smollm2-135m-instruct" --set "model_endpoints.weak.dtype=$dtype" \
    --set "dataset.input_path=$questions" --set "dataset.work_dir=$out/work" --set "dataset.finetune_out=$out/finetune.jsonl" &
engine=$!
trap 'kill -TERM "$engine" 2>/dev/null || true' INT TERM HUP

code=0
while kill -0 "$engine" 2>/dev/null; do
    code=0
    wait -n "$engine" "$server" || code=$?
    if ! kill -0 "$server" 2>/dev/null; then
        kill -TERM "$engine" 2>/dev/null && wait "$engine" || true
        server_ended
    fi
done
if ((code == 130)); then say "To go on, run the same command again."; fi
if ((code > 1)); then exit "$code"; fi

"$PY" - "$out" <<'P'
import json, sys
from pathlib import Path
out = Path(sys.argv[1])
rows = [json.loads(line) for line in (out / "work" / "selected_truncated.jsonl").read_text().splitlines()]
for row in sorted(rows, key=lambda row: -row["score"])[:2]:
    kept = sum(row["debug"]["s_list"])
    print(f"\n--- {row['question']}\n    answer {row['answer']}; the weak LLM reached it under {kept} of {len(row['debug']['s_list'])} masks")
    print(row["truncated_normal"])
P
say "What became of the questions"
"$PY" -m weak2wise status "$out/work" || true
say "Next"
cat <<T
   source $VENV/bin/activate
   weak2wise report $out/work                   # one HTML file to look at
   weak2wise export $out/work --out $out/golden --format prompt_completion
   docs/tutorial.md                             # with models of your own
T
exit "$code"
