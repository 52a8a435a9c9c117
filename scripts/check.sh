#!/usr/bin/env bash
# The gate: every check that a change must pass, in one command. Needs the Rust toolchain and a C compiler, nothing else.
# Usage: scripts/check.sh [STEP…]   (no step: all of them, in this order)
# A processor without AVX-512 fails on purpose: set REQUIRE_BACKENDS=Scalar,Avx2 to check what it can.
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TERM_COLOR=never
export REQUIRE_BACKENDS="${REQUIRE_BACKENDS:-Scalar,Avx2,Avx512}"

steps=(format clippy tests docs loom fuzz benches release)

format()  { cargo fmt --all -- --check; }
clippy()  { cargo clippy --workspace --all-targets --profile gate -- -D warnings; }
tests()   { cargo test --workspace --profile gate; }
docs()    { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --profile gate; }
loom()    { RUSTFLAGS="--cfg loom" cargo test -p peregrine-runtime --profile gate --lib --target-dir target/loom loom; }
fuzz()    { cargo run --profile gate -p peregrine-fuzz -- --seconds "${FUZZ_SECONDS:-60}"; }
benches() { cargo bench --profile gate -p peregrine-benches -- --test; }
release() { scripts/no_panic.sh; scripts/determinism.sh; }

[ $# -gt 0 ] && steps=("$@")
for step in "${steps[@]}"; do
    start=$SECONDS
    echo "== $step"
    "$step"
    echo "== $step: passed in $((SECONDS - start)) s"
done
echo "${#steps[@]} passed, 0 failed"
