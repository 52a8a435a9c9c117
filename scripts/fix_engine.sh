#!/usr/bin/env bash
# FIX 4.4 against an engine that nobody here wrote: QuickFIX (the Python package quickfix, C++ behind it), in an environment
# of its own below the target folder; it is compiled there once, for some minutes. Where it cannot be had, one line says so.
# QuickFIX accepts from our initiator, initiates to our acceptor, and is the venue of a drop copy, with its own dictionary,
# file store and log; a proxy between the two cuts, holds and damages.
# Usage: scripts/fix_engine.sh [ORDERS] [CUTS] [SEED]   (default: 2000 orders, 200 cuts, seed 1; for each role)
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
peers="$target/fix-engine"
python="$peers/bin/python"
if ! "$python" -c 'import quickfix' 2>/dev/null; then
    { python3 -m venv "$peers" && MAKEFLAGS=-j1 CFLAGS="-O1 -g0" "$python" -m pip install --quiet \
        --disable-pip-version-check quickfix; } \
        >/dev/null 2>&1 || { echo "skipped: the Python package quickfix cannot be had here"; exit 0; }
fi
cargo build --quiet --profile gate -p peregrine-fix --example fix_desk
"$python" scripts/fix_engine.py "$target/gate/examples/fix_desk" "$peers/share/quickfix/FIX44.xml" \
    --orders "${1:-2000}" --cuts "${2:-200}" --seed "${3:-1}"
