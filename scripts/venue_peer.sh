#!/usr/bin/env bash
# The exchange against client sessions that nobody here wrote: the Python package nasdaq-protocols, in an environment of
# its own below the target folder. Where the package cannot be had, one line says so.
# Usage: scripts/venue_peer.sh [ORDERS]   (default: 20000)
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
peers="$target/venue-peer"
python="$peers/bin/python"
if ! "$python" -c 'import nasdaq_protocols' 2>/dev/null; then
    { python3 -m venv "$peers" && "$python" -m pip install --quiet --disable-pip-version-check nasdaq-protocols; } \
        >/dev/null 2>&1 || { echo "skipped: the Python package nasdaq-protocols cannot be had here"; exit 0; }
fi
cargo build --quiet --profile gate -p peregrine-venue --bin peregrine-venue
"$python" scripts/venue_peer.py "$target/gate/peregrine-venue" --orders "${1:-20000}"
