#!/usr/bin/env bash
# FIX 4.4 against a peer whose codec nobody here wrote: the Python package simplefix, in an environment of its own below
# the target folder. Where the package cannot be had, one line says so.
# Usage: scripts/fix_peer.sh [ORDERS]   (default: 2000)
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
peers="$target/fix-peer"
python="$peers/bin/python"
if ! "$python" -c 'import simplefix' 2>/dev/null; then
    { python3 -m venv "$peers" && "$python" -m pip install --quiet --disable-pip-version-check simplefix; } \
        >/dev/null 2>&1 || { echo "skipped: the Python package simplefix cannot be had here"; exit 0; }
fi
cargo build --quiet --profile gate -p peregrine-fix --example fix_desk
"$python" scripts/fix_peer.py "$target/gate/examples/fix_desk" --orders "${1:-2000}"
