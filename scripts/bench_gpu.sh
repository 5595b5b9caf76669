#!/usr/bin/env bash
# All that is to be measured on a machine with a GPU, in one go and under ten minutes: one table, and one JSON file with
# what machine and versions it saw. Without a GPU it runs with small sizes, to show that it works.
#
#     bash scripts/bench_gpu.sh --weak MODEL [--strong MODEL] [--out FOLDER]
#
# MODEL is a folder or a hub name; without --strong the traces are made up, of plain sentences. Wants the engine
# installed with vLLM and, beside it, transformers with accelerate, matplotlib and rich. PYTHON names another interpreter.
# A part that fails or takes too long is said in the table, and makes exit code 1.
set -uo pipefail
cd "$(dirname "$0")/.."
weak="" strong="" out=bench-gpu
while [ $# -gt 0 ]; do
    case "$1" in
    --weak) weak="$2" ;;
    --strong) strong="$2" ;;
    --out) out="$2" ;;
    *) sed -n '2,10s/^# \{0,1\}//p' "$0" >&2 && exit 2 ;;
    esac
    shift 2
done
[ -n "$weak" ] || { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
mkdir "$out" || exit 2
export PYTHONPATH="$PWD"
python="${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}"
gpus="$(nvidia-smi --list-gpus 2>/dev/null | wc -l)"
if [ "$gpus" -gt 0 ]; then
    scoring=(--samples 6 --new-tokens 1024 --max-num-seqs 256 --one-at-a-time 4)
    tokens=(--tokens 1024 --in-flight 64 --rounds 3) prompts=(--prompts 32 --new-tokens 256)
    replicas=(--replicas "$gpus" --samples 8 --new-tokens 128 --max-num-seqs 64) more='{}'
else
    scoring=(--limit 3 --samples 2 --new-tokens 48 --max-num-seqs 16 --one-at-a-time 2)
    tokens=(--tokens 1024 --in-flight 64 --rounds 1) prompts=(--prompts 8 --new-tokens 48)
    replicas=(--replicas 2 --questions 8 --samples 2 --new-tokens 16 --rounds 1) more='{"kv_cache_memory_bytes": 1073741824}'
fi

TOTAL=580 # seconds, for all parts together
# part NAME SECONDS COMMAND…: its output goes to NAME.log, its figures to NAME.json.
part() {
    local name="$1" limit="$2" began=$SECONDS left=$((TOTAL - SECONDS))
    shift 2
    [ "$limit" -le "$left" ] || limit="$left"
    [ "$limit" -ge 5 ] || { echo "$name skipped: no time was left" | tee -a "$out/parts.txt"; return; }
    timeout --signal INT --kill-after 20 "$limit" "$python" "$@" >"$out/$name.log" 2>&1
    local code=$?
    echo "$name $code $((SECONDS - began))" | tee -a "$out/parts.txt"
}
part contract 60 scripts/vllm_contract.py
part tokens 200 scripts/bench_tokens.py "${tokens[@]}" --json "$out/tokens.json"
part invariance 90 scripts/bench_invariance.py --weak "$weak" "${prompts[@]}" --engine-args "$more" --json "$out/invariance.json"
part invariant 90 scripts/bench_invariance.py --weak "$weak" "${prompts[@]}" --batch-invariant --json "$out/invariant.json"
if [ "$gpus" -eq 1 ]; then
    echo "replicas skipped: they want two GPUs" | tee -a "$out/parts.txt"
else
    # On a processor that they share, threads of two engines that wait for work by spinning would wait for each other.
    (
        if [ "$gpus" -eq 0 ]; then export OMP_NUM_THREADS=1; fi
        part replicas 120 scripts/bench_replicas.py --weak "$weak" "${replicas[@]}" --engine-args "$more" --json "$out/replicas.json"
    )
fi
part scoring 300 -m scripts.bench_scoring --weak "$weak" --strong "${strong:-made-up}" "${scoring[@]}" --out "$out/scoring" --json "$out/scoring.json"
"$python" scripts/gpu_figures.py "$out"
