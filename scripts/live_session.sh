#!/usr/bin/env bash
# A live session from begin to end: the exchange and the engine, each in a network namespace of its own joined by a veth
# pair, trade a compressed session with faults on (lossy lines, broken connections, lost and doubled messages). The engine
# is killed in the middle and started again; at the end both are stopped, and the reconciliation and the latency table are
# printed, and every decision of both engines is made once more from their recordings and logs. Where namespaces are not
# permitted everything runs over loopback, which one line says.
# Usage: scripts/live_session.sh [SPEED] [FOLDER]   (default: 60, an hour in a minute; a temporary folder)
# PROFILE=gate takes the tests' build instead of the release one. Exit status 0: everything is equal.
set -euo pipefail
cd "$(dirname "$0")/.."
speed="${1:-60}" profile="${PROFILE:-release}"
folder="${2:-$(mktemp -d)}"
mkdir -p "$folder"
cargo build --quiet --profile "$profile" -p peregrine-node -p peregrine-venue --bins
programs="${CARGO_TARGET_DIR:-target}/$profile"

# Two namespaces and the wire between them; the addresses are of the block for documentation (RFC 5737).
left="peregrine-venue-$$" right="peregrine-engine-$$"
in_venue=() in_engine=() at_venue=127.0.0.1 at_engine=127.0.0.1 ttl=0 venue_pid="" engine_pid=""
end() {
    [ -z "$engine_pid" ] || kill -INT "$engine_pid" 2>/dev/null || true
    [ -z "$venue_pid" ] || kill -INT "$venue_pid" 2>/dev/null || true
    ip netns del "$left" 2>/dev/null || true
    ip netns del "$right" 2>/dev/null || true
}
trap end EXIT
namespaces() {
    ip netns add "$left" && ip netns add "$right" &&
        ip link add pv0 netns "$left" type veth peer name pv1 netns "$right" &&
        ip -n "$left" addr add 192.0.2.1/24 dev pv0 && ip -n "$right" addr add 192.0.2.2/24 dev pv1 &&
        ip -n "$left" link set lo up && ip -n "$right" link set lo up &&
        ip -n "$left" link set pv0 up && ip -n "$right" link set pv1 up &&
        ip -n "$left" route add 239.0.0.0/8 dev pv0 && ip -n "$right" route add 239.0.0.0/8 dev pv1
}
if namespaces 2>/dev/null; then
    in_venue=(ip netns exec "$left") in_engine=(ip netns exec "$right")
    at_venue=192.0.2.1 at_engine=192.0.2.2 ttl=1
else
    echo "network namespaces are not permitted here: the session runs over loopback"
fi

# Everything before the end of the order lines is as in the shipped profile; the port gets faults.
awk -v at="$at_venue" -v ttl="$ttl" -v speed="$speed" '
    /^start = /            { print "start = \"09:21:00\""; next }
    /^speed = /            { print "speed = " speed; next }
    /^close = /            { print "close = \"09:55:00\""; next }
    /^end_system = /       { print "end_system = \"09:56:00\""; next }
    /^end_messages = /     { print "end_messages = \"09:57:00\""; next }
    /^late_s = /           { print "late_s = 20"; next }
    /^interface = /        { print "interface = \"" at "\""; next }
    /^ttl = /              { print "ttl = " ttl; next }
    /^message_count = /    { print "message_count = 150_000"; next }
    /^address = /          { sub(/127\.0\.0\.1/, at) }
    /^message_count_max/ && !faulty { print; faulty = 1
        print "[port.faults]\ncut_sent_bytes = [9_000, 21_000, 40_000]\ncut_received_bytes = [6_000, 15_000, 33_000]"
        print "lost_order_ppm = 3_000\nlost_answer_ppm = 3_000\nduplicate_fill_ppm = 50_000"; next }
    { print }
    END { print "[faults.line_a]\nloss_ppm = 20_000\nduplicate_ppm = 10_000\nreorder_ppm = 10_000\nreorder_delay_us = 300"
          print "[faults.line_b]\nloss_ppm = 20_000\nduplicate_ppm = 10_000\nreorder_ppm = 10_000\nreorder_delay_us = 300" }
' configs/venue.toml > "$folder/venue.toml"
"${in_venue[@]}" "$programs/peregrine-venue" --config "$folder/venue.toml" > "$folder/venue.log" 2>&1 &
venue_pid=$!
for _ in $(seq 100); do grep -q '^port 0' "$folder/venue.log" && break; sleep 0.1; done

engine() {
    "${in_engine[@]}" "$programs/peregrine" run --config configs/live_copy.toml --mode live --out "$folder/runs/$1" \
        --set live.interface="\"$at_engine\"" --set ouch.address="\"$at_venue:30031\"" --set drop_copy.address="\"$at_venue:30041\"" \
        --set live.retransmission="[\"$at_venue:30011\"]" --set live.snapshot="\"$at_venue:30021\"" \
        --set runtime.pin_threads=false --set live.is_recorded=true "${@:2}"
}
engine first > "$folder/first.log" 2>&1 &
engine_pid=$!
sleep "$((900 / speed + 4))"    # into the market's hours
# The process itself, not the shell or the namespace's helper around it.
victim="$(pgrep -n -f "$folder/runs/first" || true)"
[ -z "$victim" ] || kill -KILL "$victim" 2>/dev/null || true
wait "$engine_pid" 2>/dev/null || true
engine_pid=""
echo "== the first engine was killed while it traded; the second one reconciles and goes on"
engine second --seconds "$((1200 / speed + 2))" > "$folder/second.log" 2>&1 && outcome=0 || outcome=$?
kill -INT "$venue_pid" 2>/dev/null || true
wait "$venue_pid" 2>/dev/null || true
venue_pid=""

echo "== order session"
grep -h '^orders \|^session \|^drop copy ' "$folder/first.log" "$folder/second.log" | cut -c 1-140 || true
echo "== latency"
sed -n '/^Latency and speed/,/^$/p' "$folder/second.log"
echo "== exchange"
grep -h '^feed: \|^port 0\|^line\|^drop copy' "$folder/venue.log" | grep -v 239 || true
echo "== reconciliation"
grep -h '^  pass \|^  warn \|^  FAIL\|^  fail\|^error' "$folder/second.log" || true
echo "== the second run once more, from its recording and its log"
"$programs/peregrine" replay --verify "$folder/runs/second" 2>/dev/null || outcome=$?
echo "== the first run, which was killed, as far as it went"
"$programs/peregrine" replay --verify "$folder/runs/first" 2>/dev/null || outcome=$?
echo "report: $folder/runs/second/report.html"
exit "$outcome"
