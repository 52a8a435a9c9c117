#!/usr/bin/env bash
# The exchange's wire as a dissector that nobody here wrote reads it: both lines of the feed (MoldUDP64) and sessions of two
# order ports (SoupBinTCP with OUCH 5.0, and with OUCH 4.2) are captured on the loopback interface and read by tshark. No
# packet may be malformed, every line must be read as MoldUDP64 with numbers that follow one another, every order message as
# SoupBinTCP, and OUCH 4.2 as OUCH. Beside it `peregrine capture` records both lines: tshark reads that file without complaint,
# and as many packets in it as were recorded. Where tshark or the right to capture is missing, one line says so.
# Usage: scripts/wire_tshark.sh [SECONDS]   (default: 8)
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-8}"
command -v tshark >/dev/null || { echo "skipped: tshark is not installed"; exit 0; }
folder="$(mktemp -d)" venue_pid="" capture_pid="" recorder_pid=""
end() {
    [ -z "$venue_pid" ] || kill -INT "$venue_pid" 2>/dev/null || true
    [ -z "$capture_pid" ] || kill -INT "$capture_pid" 2>/dev/null || true
    [ -z "$recorder_pid" ] || kill -INT "$recorder_pid" 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT
tshark -q -i lo -a duration:1 -w "$folder/try.pcapng" >/dev/null 2>&1 ||
    { echo "skipped: tshark may not capture here (CAP_NET_RAW)"; exit 0; }
cargo build --quiet --profile gate -p peregrine-venue --bin peregrine-venue -p peregrine-node --bin peregrine
programs="${CARGO_TARGET_DIR:-target}/gate"
sed -e 's/^speed = 1 /speed = 30 /' -e '0,/^firm = 2/s//protocol = "ouch42"\nfirm = 2/' configs/venue_agents.toml > "$folder/venue.toml"
tshark -q -i lo -f "udp port 30001 or udp port 30002 or tcp port 30031 or tcp port 30032" -w "$folder/wire.pcapng" \
    > "$folder/capture.log" 2>&1 &
capture_pid=$!
for _ in $(seq 100); do grep -q Capturing "$folder/capture.log" && break; sleep 0.1; done
"$programs/peregrine" capture --line 239.192.10.1:30001 --line 239.192.10.2:30002 --interface 127.0.0.1 --json \
    --out "$folder/feed.pcapng" > "$folder/recorded.json" &
recorder_pid=$!
"$programs/peregrine-venue" --config "$folder/venue.toml" > "$folder/venue.log" &
venue_pid=$!
for _ in $(seq 100); do grep -q '^port 1' "$folder/venue.log" && break; sleep 0.1; done
python3 scripts/wire_orders.py "$seconds"
kill -INT "$venue_pid"; wait "$venue_pid" || true; venue_pid=""
sleep 1
kill -INT "$capture_pid"; wait "$capture_pid" || true; capture_pid=""
# Ctrl-C is how a recording ends: the status says whether anything was dropped.
kill -INT "$recorder_pid"; wait "$recorder_pid" || [ $? -eq 130 ]; recorder_pid=""
read_as=(tshark -r "$folder/wire.pcapng" -d udp.port==30001,moldudp64 -d udp.port==30002,moldudp64
    -d tcp.port==30031,soupbintcp -d tcp.port==30032,soupbintcp)
count() { "${read_as[@]}" -Y "$1" 2>/dev/null | wc -l; }
packets=$(count frame) lines=$(count moldudp64) soups=$(count soupbintcp) ouches=$(count 'ouch && tcp.port==30032')
bad=$(count '_ws.malformed || moldudp64.msglen.invalid || moldudp64.count.invalid || moldudp64.end_of_session_extra ||
    soupbintcp.next_seq_num.invalid || soupbintcp.req_seq_num.invalid')
orders=$(count "tcp.port==30032 && soupbintcp.packet_type == 'U'")
echo "$packets packets: $lines of MoldUDP64, $soups of SoupBinTCP, $ouches of OUCH 4.2; $bad malformed"
# Each line's packets begin where the one before ended.
for port in 30001 30002; do
    "${read_as[@]}" -Y "udp.port==$port && moldudp64.count > 0 && moldudp64.count < 65535" -T fields -e moldudp64.sequence -e moldudp64.count 2>/dev/null |
        awk -v port="$port" 'NR > 1 && $1 != next_number { wrong++ } { next_number = $1 + $2; messages += $2 }
            END { printf "line at port %s: %d messages in %d packets, %d out of order\n", port, messages, NR, wrong
                  exit(wrong > 0 || NR == 0) }'
done
grep '^feed:' "$folder/venue.log"
# The last count is that of both lines.
recorded="$(grep -Eo '"packets": [0-9]+' "$folder/recorded.json" | tail -1 | grep -Eo '[0-9]+')"
read_feed=(tshark -r "$folder/feed.pcapng" -d udp.port==30001,moldudp64 -d udp.port==30002,moldudp64)
found=$("${read_feed[@]}" -Y moldudp64 2>"$folder/complaints" | wc -l)
found_bad=$("${read_feed[@]}" -Y '_ws.malformed || moldudp64.msglen.invalid || moldudp64.count.invalid' 2>/dev/null | wc -l)
echo "recording: $recorded packets, $found read as MoldUDP64, $found_bad malformed"
if grep -v '^Running as user' "$folder/complaints"; then exit 1; fi
if [ "$recorded" -eq 0 ] || [ "$found" -ne "$recorded" ] || [ "$found_bad" -ne 0 ]; then exit 1; fi
[ "$bad" -eq 0 ] && [ "$lines" -gt 0 ] && [ "$soups" -gt 0 ] && [ "$orders" -gt 0 ] && [ "$ouches" -ge "$orders" ]
