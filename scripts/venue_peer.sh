#!/usr/bin/env bash
# The exchange, and the engine's order session, against sessions that nobody here wrote: the Python package
# nasdaq-protocols, in an environment of its own below the target folder. Where the package cannot be had, one line says so.
# Its clients trade at our exchange; its clients and its server exchange messages with our sessions, byte for byte; our
# order session trades at its server.
# Usage: scripts/venue_peer.sh [ORDERS] [MESSAGES]   (default: 20000 orders, 20000 messages each way)
# A client trades for each 10,000 orders, from 2 to 64: the package reads some 900 messages a second of each session.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
peers="$target/venue-peer"
python="$peers/bin/python"
if ! "$python" -c 'import nasdaq_protocols' 2>/dev/null; then
    { python3 -m venv "$peers" && "$python" -m pip install --quiet --disable-pip-version-check nasdaq-protocols; } \
        >/dev/null 2>&1 || { echo "skipped: the Python package nasdaq-protocols cannot be had here"; exit 0; }
fi
cargo build --quiet --profile gate -p peregrine-venue --bin peregrine-venue --example soup_peer --example order_peer
orders="${1:-20000}"
clients=$((orders < 20000 ? 2 : orders > 640000 ? 64 : orders / 10000))
"$python" scripts/venue_peer.py "$target/gate/peregrine-venue" --orders "$orders" --clients "$clients"
"$python" scripts/soup_peer.py "$target/gate/examples/soup_peer" "$target/gate/examples/order_peer" \
    --messages "${2:-20000}" --orders "$(((orders < 200000 ? orders : 200000) / 10))"
