#!/bin/sh
# Makes tones.txt: one AAC-LC frame (16 kHz, mono, 64 ms) a line, in hex: silence, then tones 0..15 of 500 Hz + 187.5 Hz·n.
# Each tone has a whole number of cycles in a frame, so that the same frame over and over is that tone without end.
set -eu
frame() { # SOURCE: the 24th frame without its ADTS header
    ffmpeg -v error -f lavfi -i "$1" -t 3 -c:a aac -b:a 24k -aac_pns 0 -aac_tns 0 -f adts - | python3 -c '
import sys
data, at, frames = sys.stdin.buffer.read(), 0, []
while at + 7 <= len(data):
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    frames.append(data[at + 7 : at + size])
    at += size
print(frames[24].hex())'
}
{
    frame "anullsrc=r=16000:cl=mono"
    for n in $(seq 0 15); do
        frame "sine=frequency=$(python3 -c "print(500 + 187.5 * $n)"):sample_rate=16000"
    done
} >"$(dirname "$0")/tones.txt"
