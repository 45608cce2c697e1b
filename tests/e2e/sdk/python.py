"""Transcribes a WAV file with Gladia's Python SDK and prints what it saw as JSON. See README.md."""

import json
import sys
import threading
import time
import wave
from importlib.metadata import version

from gladiaio_sdk import GladiaClient

PATIENCE = 120


def main(base, path, scenario):
    with wave.open(path) as wav:
        rate, audio = wav.getframerate(), wav.readframes(wav.getnframes())
    live = GladiaClient(api_key="any", api_url=base).live_v2()
    session = live.start_session({
        "sample_rate": rate,
        "endpointing": 0.3,
        "maximum_duration_without_endpointing": 15,
        "custom_metadata": {"sdk": "python"},
        "messages_config": {
            "receive_partial_transcripts": True,
            "receive_lifecycle_events": True,
            # Sent always, shown only when asked for.
            "receive_acknowledgments": True,
        },
    })
    seen = {"types": [], "partials": 0, "finals": [], "connections": 0, "errors": []}
    connected, ended = threading.Event(), threading.Event()

    def on_message(message):
        seen["types"].append(message.type)
        if message.type == "transcript":
            if message.data.is_final:
                seen["finals"].append(message.data.utterance.text)
            else:
                seen["partials"] += 1

    def on_connected(_):
        seen["connections"] += 1
        connected.set()

    def on_ended(message):
        seen["code"] = message.code
        ended.set()

    session.on("message", on_message)
    session.on("connected", on_connected)
    session.on("error", lambda error: seen["errors"].append(repr(error)))
    session.on("ended", on_ended)
    assert connected.wait(PATIENCE), "never connected"
    if scenario == "overlong":
        session.send_audio(audio[: 1024 * 1024 + 2])
        audio = audio[1024 * 1024 + 2 :]
    step = rate // 20 * 2
    for at in range(0, len(audio), step):
        session.send_audio(audio[at : at + step])
        time.sleep(0.02)
    session.stop_recording()
    assert ended.wait(PATIENCE), "never ended"

    job = live.get(session.session_id)
    until = time.monotonic() + PATIENCE
    while job.status != "done" and time.monotonic() < until:
        time.sleep(0.1)
        job = live.get(session.session_id)
    file = live.get_file(session.session_id)
    seen.update(
        sdk="gladiaio-sdk " + version("gladiaio-sdk"),
        status=job.status,
        text=job.result.transcription.full_transcript,
        duration=job.result.metadata.audio_duration,
        file={"head": file[:4].decode(), "bytes": len(file)},
        listed=any(item.id == session.session_id for item in live.list().items),
        deleted=live.delete(session.session_id),
        types=sorted(set(seen["types"])),
    )
    print(json.dumps(seen))


main(*sys.argv[1:])
