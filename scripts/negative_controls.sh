#!/usr/bin/env bash
# Tests with teeth: each line of scripts/negative_controls.tsv breaks one line of code once, and the crate's tests must
# fail for it. Columns, by tabs: package, file, text to be found exactly once, text to put there, what it breaks.
# Runs in a worktree of its own, so that the checkout is never touched; what is not committed is not seen.
# Usage: scripts/negative_controls.sh [PATTERN]   (only lines that contain PATTERN)
set -euo pipefail
cd "$(dirname "$0")/.."
tree="$(mktemp -d)/tree"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/controls" CARGO_TERM_COLOR=never
git worktree add -q --detach "$tree" HEAD
trap 'git worktree remove --force "$tree"' EXIT
caught=0 missed=0
while IFS=$'\t' read -r package file from to what; do
    [[ "$package $file $what" == *"${1:-}"* ]] || continue
    text="$(cat "$tree/$file"; printf x)"
    rest="${text#*"$from"}"
    if [ "$rest" = "$text" ] || [[ "$rest" == *"$from"* ]]; then
        echo "error: $file: not found exactly once: $from"; missed=$((missed + 1)); continue
    fi
    changed="${text%%"$from"*}$to$rest"
    printf %s "${changed%x}" > "$tree/$file"
    if ! (cd "$tree" && cargo test -q --profile gate -p "$package" --no-run) >/dev/null 2>&1; then
        echo "error: $file: does not compile with: $to"; missed=$((missed + 1))
    elif (cd "$tree" && timeout 600 cargo test -q --profile gate -p "$package") >/dev/null 2>&1; then
        echo "NOT CAUGHT $package: $what"; missed=$((missed + 1))
    else
        echo "caught $package: $what"; caught=$((caught + 1))
    fi
    git -C "$tree" checkout -q -- "$file"
done < scripts/negative_controls.tsv
echo "$caught caught, $missed not"
[ "$missed" -eq 0 ]
