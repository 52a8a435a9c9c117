#!/usr/bin/env bash
# The exchange's wire as a dissector that nobody here wrote reads it: both lines of the feed (MoldUDP64) and sessions of two
# order ports (SoupBinTCP with OUCH 5.0, and with OUCH 4.2) are captured on the loopback interface and read by tshark. No
# packet may be malformed, every line must be read as MoldUDP64 with numbers that follow one another, every order message as
# SoupBinTCP, and OUCH 4.2 as OUCH. Where tshark or the right to capture is missing, one line says so.
# Usage: scripts/wire_tshark.sh [SECONDS]   (default: 8)
set -euo pipefail
cd "$(dirname "$0")/.."
seconds="${1:-8}"
command -v tshark >/dev/null || { echo "skipped: tshark is not installed"; exit 0; }
folder="$(mktemp -d)" venue_pid="" capture_pid=""
end() {
    [ -z "$venue_pid" ] || kill -INT "$venue_pid" 2>/dev/null || true
    [ -z "$capture_pid" ] || kill -INT "$capture_pid" 2>/dev/null || true
    rm -rf "$folder"
}
trap end EXIT
tshark -q -i lo -a duration:1 -w "$folder/try.pcapng" >/dev/null 2>&1 ||
    { echo "skipped: tshark may not capture here (CAP_NET_RAW)"; exit 0; }
cargo build --quiet --profile gate -p peregrine-venue --bin peregrine-venue
sed -e 's/^speed = 1 /speed = 30 /' -e '0,/^firm = 2/s//protocol = "ouch42"\nfirm = 2/' configs/venue_agents.toml > "$folder/venue.toml"
tshark -q -i lo -f "udp port 30001 or udp port 30002 or tcp port 30031 or tcp port 30032" -w "$folder/wire.pcapng" \
    > "$folder/capture.log" 2>&1 &
capture_pid=$!
for _ in $(seq 100); do grep -q Capturing "$folder/capture.log" && break; sleep 0.1; done
"${CARGO_TARGET_DIR:-target}/gate/peregrine-venue" --config "$folder/venue.toml" > "$folder/venue.log" &
venue_pid=$!
for _ in $(seq 100); do grep -q '^port 1' "$folder/venue.log" && break; sleep 0.1; done
python3 scripts/wire_orders.py "$seconds"
kill -INT "$venue_pid"; wait "$venue_pid" || true; venue_pid=""
sleep 1
kill -INT "$capture_pid"; wait "$capture_pid" || true; capture_pid=""
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
[ "$bad" -eq 0 ] && [ "$lines" -gt 0 ] && [ "$soups" -gt 0 ] && [ "$orders" -gt 0 ] && [ "$ouches" -ge "$orders" ]
