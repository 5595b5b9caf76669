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
# shellcheck source=scripts/serve.sh
source "$ROOT/scripts/serve.sh"
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

# One core each: otherwise each vLLM would use both.
export OMP_NUM_THREADS=1 VLLM_CPU_OMP_THREADS_BIND=nobind VLLM_CPU_KVCACHE_SPACE=2 # GiB
serve_strong "$out/strong-server.log"

# In its own session the engine gets a Ctrl-C only once: from the trap, not also from the terminal.
say "The engine, with SmolLM2-135M embedded as the weak LLM${few:+; the first $few questions}"
setsid "$PY" -m weak2wise.engine --config scripts/quickstart/config.yaml ${few:+--limit "$few"} \
    --set "model_endpoints.strong.base_url=http://127.0.0.1:$port/v1" \
    --set "model_endpoints.weak.model_name=$MODELS/smollm2-135m-instruct" --set "model_endpoints.weak.dtype=$dtype" \
    --set "dataset.input_path=$questions" --set "dataset.work_dir=$out/work" --set "dataset.finetune_out=$out/finetune.jsonl" &
watch_engine "$!" "$out/strong-server.log"
if ((code == 130)); then say "To go on, run the same command again."; fi
if ((code > 1)); then exit "$code"; fi

"$PY" - "$out" <<'P'
import json, sys
from pathlib import Path
out = Path(sys.argv[1])
rows = [json.loads(line) for line in (out / "work" / "selected_truncated.jsonl").read_text().splitlines()]
for row in sorted(rows, key=lambda row: -row["score"])[:2]:
    asked = [bit for bit in row["debug"]["s_list"] if bit is not None]  # those that the winner did not need are left out
    print(f"\n--- {row['question']}\n    answer {row['answer']}; the weak LLM reached it under {sum(asked)} of {len(asked)} masks")
    print(row["truncated_normal"])
P
say "What became of the questions"
"$PY" -m weak2wise status "$out/work" || true
say "Next"
cat <<T
   source $VENV/bin/activate
   weak2wise report $out/work                   # one HTML file to look at
   weak2wise export $out/work --out $out/golden
   docs/tutorial.md                             # with models of your own
T
exit "$code"
