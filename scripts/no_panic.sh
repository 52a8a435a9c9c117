#!/usr/bin/env bash
# Proves by disassembly that the hot entry points reach no panic, no allocation and no call through a pointer.
# The program is tools/fuzz/src/bin/hot_entry, built as releases are; what may remain, and why, is listed in
# tools/fuzz/src/bin/no_panic.rs. Needs objdump, which comes with a C compiler's binutils.
# Usage: scripts/no_panic.sh   (exit status 0: proven; 1: something is reachable, with the way there)
set -euo pipefail
cd "$(dirname "$0")/.."
command -v objdump >/dev/null || { echo "error: objdump is missing: install binutils" >&2; exit 2; }
folder="${CARGO_TARGET_DIR:-target}"
cargo build --release -p peregrine-fuzz --bin hot_entry --bin no_panic
program="$folder/release/hot_entry"
{ objdump -R "$program"; objdump -s -j .rodata "$program"; objdump -d -C --no-show-raw-insn "$program"; } | "$folder/release/no_panic"
