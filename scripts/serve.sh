# shellcheck shell=bash
# Sourced by scripts that need a strong LLM and have no GPU and no API key: Qwen2.5-Coder-0.5B, served by vLLM on a core.
# lib.sh comes first.

# shellcheck disable=SC2034 # used by the scripts that source this
serve_strong() { # LOG: starts the server; sets $server and $port
    # bfloat16 halves the memory, but a processor that cannot compute with it is several times slower than with float32.
    local dtype=float32
    if grep -qm1 -e avx512_bf16 -e amx_bf16 /proc/cpuinfo 2>/dev/null; then dtype=bfloat16; fi
    port="$("$PY" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    say "The strong LLM's server on 127.0.0.1:$port; its log: $1"
    setsid taskset -c 0 "$PY" -m vllm.entrypoints.openai.api_server \
        --model "$MODELS/qwen2.5-coder-0.5b-instruct" --served-model-name strong --host 127.0.0.1 --port "$port" \
        --dtype "$dtype" --max-model-len 4096 --max-num-batched-tokens 4096 --max-num-seqs 32 \
        --enforce-eager --no-enable-chunked-prefill \
        --distributed-executor-backend vllm.v1.executor.uniproc_executor.UniProcExecutor >"$1" 2>&1 &
    server=$!
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

watch_engine() { # ENGINE LOG: waits for the engine's process and sets $code; ends it, and the script, if the server ends
    local engine="$1"
    code=0
    while kill -0 "$engine" 2>/dev/null; do
        code=0
        wait -n "$engine" "$server" || code=$?
        if ! kill -0 "$server" 2>/dev/null; then
            tail -n 20 "$2" >&2
            kill -TERM "$engine" 2>/dev/null && wait "$engine" || true
            die "the strong LLM's server ended; the end of its log is above"
        fi
    done
}
