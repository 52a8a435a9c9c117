#!/usr/bin/env bash
# Measures this machine and keeps the result: benches/record/DATE-CPU.md.
# Usage: scripts/bench.sh [--quick] [--core N] [--rounds N]   every part: percentiles in one table
#        scripts/bench.sh --kernel [--core N] [--rounds N]    the kernel alone: benches/record/DATE-kernel.md
#        scripts/bench.sh --peers                             side by side with other crates, same bytes, one run
#        scripts/bench.sh --criterion [FILTER]                the Criterion benches (nothing is recorded)
# Look at `uptime` first: the record names the load, and figures from a busy machine say little.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never

machine() { sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1; }
cpu=$(machine | tr '[:upper:]' '[:lower:]' | tr -cs '[:alnum:]' '-' | sed 's/^-*//; s/-*$//')
target=${CARGO_TARGET_DIR:-target}
# Keeps others off the core where the system permits it; the record says what was had. The kernel stops real-time threads
# that spin for more than 95 % of a second, so the programs rest between measurements.
runner=()
if chrt -f 20 true 2>/dev/null; then runner=(chrt -f 20); fi

record() { # NAME TITLE COMMAND…: the record is written only when the command succeeded.
    local file="benches/record/$(date +%F)-$1.md" text
    shift
    local title=$1
    shift
    text=$("$@")
    mkdir -p benches/record
    printf '# %s, %s\n\n%s\n' "$title" "$(date +%F)" "$text" | tee "$file"
    echo "written: $file" >&2
}

case "${1:-}" in
--peers)
    cargo build --release --manifest-path benches/peers/Cargo.toml --target-dir "$target/peers"
    record "$cpu-peers" "Peers side by side" "${runner[@]}" "$target/peers/release/peers" "${@:2}"
    ;;
--kernel)
    cargo build --release -p peregrine-benches --bin figures
    record kernel "The kernel" "${runner[@]}" "$target/release/figures" "$@"
    ;;
--criterion)
    cargo bench -p peregrine-benches -- "${@:2}"
    ;;
*)
    cargo build --release -p peregrine-benches --bin figures
    record "$cpu" "Figures" "${runner[@]}" "$target/release/figures" "$@"
    ;;
esac
