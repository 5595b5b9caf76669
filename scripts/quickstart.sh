#!/usr/bin/env bash
# From a bare machine to a real SFT data set made by real LLMs, with no GPU, no API key and no model hub.
#
#   bash scripts/quickstart.sh
#
# Run again after an interruption it goes on. W2W_OUT is the folder for the results (default ./quickstart-out).
set -euo pipefail
export TQDM_DISABLE=1 HF_HUB_OFFLINE=1 # quiet, and no model hub is asked
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out="${W2W_OUT:-$PWD/quickstart-out}"
mkdir -p "$out"
out="$(cd "$out" && pwd)"
cd "$here"

bash scripts/setup.sh --extras cpu
python="$here/.venv/bin/python"
"$python" scripts/fetch_models.py --models weak,strong
models="${XDG_CACHE_HOME:-$HOME/.cache}/weak2wise/models"

# bfloat16 halves the memory, but without AVX-512 it is several times slower than float32.
dtype=float32
if grep -qm1 avx512f /proc/cpuinfo 2>/dev/null; then dtype=bfloat16; fi
# One core each: vLLM would otherwise take both for both.
port="$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
echo "quickstart: starting the strong LLM's server on 127.0.0.1:$port (log: $out/strong-server.log)"
HF_HUB_OFFLINE=1 VLLM_CPU_OMP_THREADS_BIND=0 VLLM_CPU_KVCACHE_SPACE=2 setsid "$python" -m vllm.entrypoints.openai.api_server \
  --model "$models/qwen2.5-coder-0.5b-instruct" --served-model-name strong --host 127.0.0.1 --port "$port" \
  --dtype "$dtype" --max-model-len 4096 --max-num-batched-tokens 4096 --max-num-seqs 32 \
  --enforce-eager --no-enable-chunked-prefill >"$out/strong-server.log" 2>&1 &
server=$!
stop_server() {
  kill -TERM -- "-$server" 2>/dev/null || return 0
  for _ in $(seq 50); do kill -0 -- "-$server" 2>/dev/null || return 0; sleep 0.1; done
  kill -KILL -- "-$server" 2>/dev/null || true
}
trap stop_server EXIT
trap 'exit 130' INT TERM

for second in $(seq 300); do
  if "$python" - "$port" <<'P' 2>/dev/null
import sys, urllib.request
urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health", timeout=2)
P
  then break; fi
  kill -0 "$server" 2>/dev/null || { echo "quickstart: the server ended; its last words:" >&2; tail -n 20 "$out/strong-server.log" >&2; exit 1; }
  [ "$second" -lt 300 ] || { echo "quickstart: the server is not up after 5 minutes" >&2; exit 1; }
  [ $((second % 15)) -ne 0 ] || echo "quickstart: waiting for the strong LLM ($second s)"
  sleep 1
done

echo "quickstart: running the engine, SmolLM2-135M embedded as the weak LLM"
code=0
HF_HUB_OFFLINE=1 VLLM_CPU_OMP_THREADS_BIND=1 VLLM_CPU_KVCACHE_SPACE=2 "$python" -m weak2wise.engine \
  --config scripts/quickstart/config.yaml \
  --set "model_endpoints.strong.base_url=http://127.0.0.1:$port/v1" \
  --set "model_endpoints.weak.model_name=$models/smollm2-135m-instruct" \
  --set "dataset.work_dir=$out/work" --set "dataset.finetune_out=$out/finetune.jsonl" || code=$?
[ "$code" -le 1 ] || exit "$code"

"$python" - "$out" <<'P'
import json, sys
from pathlib import Path
out = Path(sys.argv[1])
for line in (out / "work" / "selected_truncated.jsonl").read_text().splitlines()[:2]:
    row = json.loads(line)
    print(f"\n--- {row['question']}\n    answer {row['answer']}, score {row['score']:.3f}, survived masks {row['debug']['s_list']}, cut by {row['cut_by']}")
    print(row["truncated_normal"])
print(f"\nThe training data: {out / 'finetune.jsonl'}")
P
exit "$code"
