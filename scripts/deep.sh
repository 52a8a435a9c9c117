#!/usr/bin/env bash
# The long gate, by hand or by night: what needs hours or a nightly toolchain. Each step appends a line to
# benches/record/ledger.csv (date, commit, step, result, count, seconds); a step whose tool is missing says so, there too.
# Usage: scripts/deep.sh [HOURS] [STEP…]   (default: 1 hour of fuzzing, all steps; 0: five minutes, one of them fuzzing)
set -euo pipefail
cd "$(dirname "$0")/.."
hours="${1:-1}"; shift || true
fuzz_seconds=$((hours > 0 ? hours * 3600 : 60)) kill_cycles=$((hours > 0 ? hours * 2000 : 200))
live_kill_cycles=$((hours > 0 ? hours * 10000 : 300)) program_kill_cycles=$((hours > 0 ? hours * 1000 : 30))
steps=(fuzz fuzz_coverage controls kill both_lines venue venue_live live_kill conformance loom miri asan memcheck dataset_memory truth)
[ $# -gt 0 ] && steps=("$@")
export CARGO_TERM_COLOR=never
ledger=benches/record/ledger.csv
commit="$(git rev-parse --short=12 HEAD)$(git diff --quiet HEAD -- . ':!benches/record/ledger.csv' || echo +changes)"
mkdir -p "$(dirname "$ledger")"
[ -f "$ledger" ] || echo "date,commit,step,result,count,seconds" > "$ledger"
log="$(mktemp)"
trap 'rm -f "$log"' EXIT

# Each step prints to the log and leaves its count in `count`; `skip` says why nothing was done.
skip()      { reason="$1"; }
passed()    { awk '/^test result: ok/ { n += $4 } END { print n + 0 }' "$log"; }
fuzz() {
    cargo run --profile gate -p peregrine-fuzz -- --seconds "$fuzz_seconds" 2>&1 | tee "$log" || return 1
    count="$(awk '$2 ~ /^[0-9]+$/ && $5 ~ /^[0-9]+$/ { n += $2 } END { print n + 0 }' "$log") executions"
}
fuzz_coverage() {
    cargo +nightly fuzz --version >/dev/null 2>&1 || { skip "cargo-fuzz is not installed"; return 0; }
    [ -d fuzz ] || { skip "no cargo-fuzz targets in this tree"; return 0; }
    local target total=0
    for target in $(cargo +nightly fuzz list); do
        cargo +nightly fuzz run "$target" -- -max_total_time="$((fuzz_seconds / 6))" 2>&1 | tee "$log" || return 1
        total=$((total + 1))
    done
    count="$total targets"
}
kill() {
    PEREGRINE_KILL_CYCLES="$kill_cycles" \
        cargo test --profile gate -p peregrine-eventlog --test kill 2>&1 | tee "$log" || return 1
    count="$kill_cycles cycles"
}
controls() {
    scripts/negative_controls.sh 2>&1 | tee "$log" || return 1
    count="$(grep -c '^caught' "$log") controls"
}
# The unsafe of rings, huge pages, host calls and the log's mappings, instrumented; the standard library is not. The stable
# compiler has the sanitizer behind a switch for its own developers.
asan() {
    [ "$(ulimit -v)" = unlimited ] || { skip "ulimit -v leaves no room for the sanitizer's shadow memory"; return 0; }
    RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address" ASAN_OPTIONS=detect_leaks=0 \
        cargo test --profile gate --target x86_64-unknown-linux-gnu --target-dir "${CARGO_TARGET_DIR:-target}/asan" \
        -p peregrine-runtime -p peregrine-eventlog -p peregrine-model --lib 2>&1 | tee "$log" || return 1
    count="$(passed) tests"
}
# The same without instrumentation at compile time; this valgrind knows no AVX-512, so the kernels are left to asan.
memcheck() {
    command -v valgrind >/dev/null || { skip "valgrind is not installed"; return 0; }
    local programs=() program
    mapfile -t programs < <(cargo test --profile gate -p peregrine-runtime -p peregrine-eventlog --lib --no-run 2>&1 |
        sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
    [ "${#programs[@]}" -eq 2 ] || { echo "error: ${#programs[@]} test programs where 2 are due"; return 1; }
    for program in "${programs[@]}"; do
        program="$(realpath "$program")"
        # What calls for real-time priority, other cores or much memory says little under valgrind, and takes long.
        (cd "engine/$(basename "$program" | sed 's/^peregrine_\([a-z]*\)-.*/\1/')" &&
            valgrind --quiet --error-exitcode=9 --fair-sched=yes "$program" ring staging huge format segment 2>&1) |
            tee -a "$log" || return 1
    done
    count="$(passed) tests"
}
venue() {
    local commands=$((hours > 0 ? hours * 50000000 : 2000000))
    PEREGRINE_VENUE_COMMANDS="$commands" PEREGRINE_VENUE_SEED="$(date -u +%Y%m%d)000" \
        cargo test --profile gate -p peregrine-venue --test twins campaign_of_millions -- --ignored --nocapture 2>&1 |
        tee "$log" || return 1
    count="$commands commands"
}
# Sessions cut at every byte over loopback, and client sessions that nobody here wrote.
venue_live() {
    PEREGRINE_VENUE_CUTS=all cargo test --profile gate -p peregrine-venue --test live 2>&1 | tee "$log" || return 1
    scripts/venue_peer.sh "$((hours > 0 ? hours * 200000 : 20000))" "$((hours > 0 ? hours * 1000000 : 20000))" 2>&1 |
        tee -a "$log" || return 1
    scripts/wire_tshark.sh 2>&1 | tee -a "$log" || return 1
    scripts/fix_peer.sh 2>&1 | tee -a "$log" || return 1
    scripts/fix_engine.sh "$((hours > 0 ? hours * 20000 : 2000))" "$((hours > 0 ? hours * 1000 : 200))" 2>&1 |
        tee -a "$log" || return 1
    count="$(passed) tests, $(grep -Eo '^[0-9]+ orders' "$log" || echo 'no peer')"
}
# The engine's order session killed with -9 while it trades over loopback, and started again from its log; then the whole
# program, on a tape with faults.
live_kill() {
    PEREGRINE_LIVE_KILL_CYCLES="$live_kill_cycles" PEREGRINE_LIVE_KILL_LIFE_MS=120 \
        PEREGRINE_PROGRAM_KILL_CYCLES="$program_kill_cycles" \
        cargo test --profile gate -p peregrine-venue --test engine_process --test whole_program -- --nocapture 2>&1 | tee "$log" || return 1
    count="$(grep -Eo '^[0-9]+ kills, [0-9]+ orders, [0-9]+ fills' "$log" || echo 'no kills'); \
$(grep -Eo '^whole program: [0-9]+ kills, [0-9]+ orders, [0-9]+ fills' "$log" || echo 'no kills of the whole program')"
    count="${count//, / and }"
}
# Lines A and B lose 30 % each, independently: recovery, books and the risk gate against the truth, without sockets.
both_lines() {
    local messages=$((hours > 0 ? hours * 1000000000 : 100000000))
    PEREGRINE_LOSS_MESSAGES="$messages" \
        cargo test --profile gate -p peregrine-generate --test both_lines -- --nocapture 2>&1 | tee "$log" || return 1
    count="$(grep -Eo '^[0-9]+ messages in .*' "$log" | tr ',' ';' || echo 'nothing')"
}
# What a venue tests in its members (RTS 7 Article 9(3)); the report lies in peregrine-out/conformance.
conformance() {
    scripts/conformance.sh 2>&1 | tee "$log" || return 1
    count="$(grep -Eo '^[0-9]+ of [0-9]+ passed' "$log")"
}
loom() {
    RUSTFLAGS="--cfg loom" LOOM_MAX_BRANCHES=100000 cargo test -p peregrine-runtime --profile gate --lib \
        --target-dir target/loom loom -- --nocapture 2>&1 | tee "$log" || return 1
    count="$(awk '/^[0-9]+ interleavings/ { n += $1 } END { print n + 0 }' "$log") interleavings"
}
miri() {
    cargo +nightly miri --version >/dev/null 2>&1 || { skip "the miri component is missing"; return 0; }
    MIRIFLAGS="-Zmiri-many-seeds=0..${MIRI_SEEDS:-64}" cargo +nightly miri test -p peregrine-runtime --lib ring 2>&1 | tee "$log" || return 1
    local ring; ring="$(passed)"
    RUSTFLAGS="-Ctarget-feature=+avx2,+fma,+avx512f" MIRIFLAGS="-Zmiri-disable-isolation" \
        cargo +nightly miri test -p peregrine-model --lib 2>&1 | tee "$log" || return 1
    [ "$ring" -gt 0 ] && [ "$(passed)" -gt 0 ] || { echo "error: no test ran under Miri"; return 1; }
    count="$ring ring tests, $(passed) kernel tests"
}
dataset_memory() {
    cargo test --profile gate -p peregrine-dataset --test storage --test bars -- --ignored --nocapture 2>&1 | tee "$log" || return 1
    count="$(passed) tests"
}
# A market whose truth is known: three seeds with a signal, three without, and a control that must fail.
truth() {
    local out seed
    out="$(mktemp -d)"
    lab() { cargo run --profile gate -q -p peregrine-lab -- truth --out "$out" --ledger "$out/trials.sqlite" "$@"; }
    for seed in 1 2 3; do
        { lab --seed "$seed" && lab --seed "$seed" --without-signal; } 2>&1 | tee -a "$log" || { rm -rf "$out"; return 1; }
    done
    local status=0
    lab --seed 1 --shuffled 2>&1 | tee -a "$log" || status=$?
    [ "$status" -eq 1 ] || { echo "error: shuffled targets: status $status, 1 is due"; rm -rf "$out"; return 1; }
    rm -rf "$out"
    count="6 trials, 1 control"
}

failed=0
for step in "${steps[@]}"; do
    start=$SECONDS; count=""; reason=""; result=passed
    echo "== $step"
    "$step" || { result=failed; failed=$((failed + 1)); }
    [ -z "$reason" ] || { result=skipped; count="$reason"; }
    echo "== $step: $result $count in $((SECONDS - start)) s"
    echo "$(date -u +%FT%TZ),$commit,$step,$result,$count,$((SECONDS - start))" >> "$ledger"
done
exit "$((failed > 0))"
