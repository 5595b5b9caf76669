# shellcheck shell=bash
# Sourced by scripts that need a strong LLM and have no GPU and no API key: Qwen2.5-Coder-0.5B, served by vLLM on a core.
# lib.sh comes first.

# bfloat16 halves the memory, but a processor that cannot compute with it is several times slower than with float32.
dtype=float32
if grep -qm1 -e avx512_bf16 -e amx_bf16 /proc/cpuinfo 2>/dev/null; then dtype=bfloat16; fi

# shellcheck disable=SC2034 # used by the scripts that source this
serve_strong() { # LOG: starts the server and waits until it answers; sets $server and $port
    local begun=$SECONDS shown=0
    port="$("$PY" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    say "The strong LLM's server on 127.0.0.1:$port; its log: $1"
    setsid taskset -c 0 "$PY" -m vllm.entrypoints.openai.api_server \
        --model "$MODELS/qwen2.5-coder-0.5b-instruct" --served-model-name strong --host 127.0.0.1 --port "$port" \
        --dtype "$dtype" --max-model-len 4096 --max-num-batched-tokens 4096 --max-num-seqs 32 \
        --enforce-eager --no-enable-chunked-prefill \
        --distributed-executor-backend vllm.v1.executor.uniproc_executor.UniProcExecutor >"$1" 2>&1 &
    server=$!
    trap stop_server EXIT
    trap 'say "To go on, run the same command again."; exit 130' INT TERM HUP
    until server_answers; do
        kill -0 "$server" 2>/dev/null || server_ended "$1"
        sleep 1
        if ((SECONDS - begun >= shown + 10)); then
            shown=$((SECONDS - begun))
            printf '   loading (%s s)\n' "$shown"
        fi
    done
}

server_answers() {
    "$PY" -c 'import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)' \
        "http://127.0.0.1:$port/health" 2>/dev/null
}

server_ended() { # LOG
    tail -n 20 "$1" >&2
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

watch_engine() { # ENGINE LOG: waits for the engine's process and sets $code; ends it, and the script, if the server ends
    local engine="$1"
    # shellcheck disable=SC2064 # this engine
    trap "kill -TERM $engine 2>/dev/null || true" INT TERM HUP
    code=0
    while kill -0 "$engine" 2>/dev/null; do
        code=0
        wait -n "$engine" "$server" || code=$?
        if ! kill -0 "$server" 2>/dev/null; then
            kill -TERM "$engine" 2>/dev/null && wait "$engine" || true
            server_ended "$2"
        fi
    done
}
