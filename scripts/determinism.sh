#!/usr/bin/env bash
# One input, one answer: the same generated session in a debug-checked and in the release build, with every backend and
# in every wiring, gives the same log hash and the same state hash; and a verification run finds no difference.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
dir="$(mktemp -d)"
trap 'rm -rf "$dir"' EXIT

cargo build --release --bin peregrine
cargo build --profile gate --bin peregrine
release="$target/release/peregrine"
gate="$target/gate/peregrine"

"$release" generate --out "$dir/day.itch50" --seed 7 --messages 40000 --symbol-count 20 >"$dir/generated"
"$gate" generate --out "$dir/again.itch50" --seed 7 --messages 40000 --symbol-count 20 >/dev/null
cmp "$dir/day.itch50" "$dir/again.itch50"

hashes() { grep -E '"(log|state|decision)_hash"' "$1/run.json"; }

replay() { # program, wiring, backend
    local out="$dir/$(basename "$(dirname "$1")")-$2-$3"
    "$1" replay "$dir/day.itch50" --date 2026-01-05 --out "$out" --json --set "runtime.wiring=\"$2\"" \
        --set "model.backend=\"$3\"" --set runtime.pin_threads=false --set runtime.lock_memory=false >/dev/null
    hashes "$out" >"$out.hashes"
    cmp "$out.hashes" "$reference" || { echo "differs: $1 $2 $3" >&2; exit 1; }
    runs=$((runs + 1))
}

runs=0
reference="$dir/release-fused-scalar.hashes"
out="$dir/release-fused-scalar"
"$release" replay "$dir/day.itch50" --date 2026-01-05 --out "$out" --json --set 'model.backend="scalar"' \
    --set runtime.pin_threads=false --set runtime.lock_memory=false >/dev/null
hashes "$out" >"$reference"
for wiring in fused feed_apart four_threads; do
    for backend in scalar avx2 avx512; do
        case ",${REQUIRE_BACKENDS:-Scalar,Avx2,Avx512}," in
        *",${backend^},"*) ;;
        *) echo "skipped: backend $backend is not required here"; continue ;;
        esac
        [ "$wiring-$backend" = fused-scalar ] || replay "$release" "$wiring" "$backend"
        replay "$gate" "$wiring" "$backend"
    done
done
"$gate" replay --verify "$out"
echo "determinism: $runs runs gave the hashes of the first"
cat "$reference"
