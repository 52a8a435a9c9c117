#!/usr/bin/env bash
# Runs the conformance list (scripts/conformance.tsv: RTS 7 Article 9(3), and what certification of order entry asks
# beside it) against the simulated exchange and writes a report that can be filed: item, scenario, result, commit; beside it
# the report's SHA-256.
# Usage: scripts/conformance.sh [FOLDER]   (default: peregrine-out/conformance)
# PROFILE=release takes the release build instead of the gate's. Exit status 0: every scenario passed.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-peregrine-out/conformance}" profile="${PROFILE:-gate}"
list=scripts/conformance.tsv
mkdir -p "$folder"
log="$folder/conformance.log" report="$folder/conformance.md"
commit="$(git rev-parse HEAD)$(git diff --quiet HEAD || echo ' with changes')"
# A failed scenario is a line of the report.
CARGO_TERM_COLOR=never cargo test --profile "$profile" -p peregrine-venue --test conformance > "$log" 2>&1 || true
grep -q '^test result: ' "$log" || { cat "$log" >&2; echo "error: the scenarios did not run" >&2; exit 1; }

awk -F '\t' -v commit="$commit" -v date="$(date -u +%FT%TZ)" -v profile="$profile" '
    FNR == NR { if (match($0, /^test [a-z_0-9]+ \.\.\. /)) { split($0, word, " "); result[word[2]] = word[4]; ran++ }; next }
    /^#/ { next }
    FNR == 2 {
        print "# Conformance\n"
        print "Delegated Regulation (EU) 2017/584 (RTS 7), Article 9(3): what a venue tests in its members. The engine, over"
        print "sockets and with its log, against the simulated exchange; each scenario asserts what the venue saw and what the"
        print "log says, and at its end both are held against each other.\n"
        print "- commit: " commit "\n- date: " date "\n- build: " profile "\n"
        print "| item | source | scenario | what is asserted | result |\n|---|---|---|---|---|"
    }
    {
        said = ($3 in result) ? result[$3] : "did not run"
        named[$3] = 1
        count++
        passed += said == "ok"
        print "| " $1 " | " $2 " | `" $3 "` | " $4 " | " (said == "ok" ? "passed" : "**" said "**") " |"
    }
    END {
        for (name in result) if (!(name in named)) { print "\nNot on the list: `" name "`"; stray++ }
        print "\n" passed " of " count " passed."
        exit !(passed == count && !stray)
    }
' "$log" "$list" > "$report" && status=0 || status=1
(cd "$folder" && sha256sum conformance.md > conformance.md.sha256)
tail -n 1 "$report"
echo "report: $report, sha256 $(cut -c 1-64 "$folder/conformance.md.sha256")"
exit "$status"
