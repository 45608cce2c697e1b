"""People in rooms of a real LiveKit, by LiveKit's own client SDK (PyPI livekit): real signalling, real WebRTC, real audio.

Usage: participants.py URL. Reads one JSON object a line, answers each with one: {"did": …} or {"error": …}. Everybody
leaves when standard input ends.
  {"do": "join", "room": "r", "identity": "i", "token": "…"}
  {"do": "microphone", "room": "r", "identity": "i", "to": "open" | "muted" | "none"}
  {"do": "leave", "room": "r", "identity": "i"}
"""

import asyncio
import json
import sys

from livekit import rtc

RATE = 48000
PATIENCE = 20


class Person:
    def __init__(self):
        self.room = rtc.Room()
        self.track = None
        self.sound = None

    async def join(self, url, token):
        await self.room.connect(url, token, rtc.RoomOptions(auto_subscribe=False))

    async def microphone(self, to):
        if to == "none":
            await self.unpublish()
            return
        if self.track is None:
            await self.publish()
        if to == "muted":
            self.track.mute()
        else:
            self.track.unmute()

    async def publish(self):
        source = rtc.AudioSource(RATE, 1)
        self.track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
        options = rtc.TrackPublishOptions()
        options.source = rtc.TrackSource.SOURCE_MICROPHONE
        await self.room.local_participant.publish_track(self.track, options)
        self.sound = asyncio.create_task(self.hum(source))

    async def hum(self, source):
        """A quiet noise: the source takes a frame when there is room for one, at its own pace."""
        frame = rtc.AudioFrame((b"\x10\x00\xf0\xff" * (RATE // 200)), RATE, 1, RATE // 100)
        while True:
            await source.capture_frame(frame)

    async def unpublish(self):
        if self.track is not None:
            self.sound.cancel()
            await self.room.local_participant.unpublish_track(self.track.sid)
            self.track = None

    async def leave(self):
        if self.sound is not None:
            self.sound.cancel()
        await self.room.disconnect()


async def do(url, people, order):
    who = (order["room"], order["identity"])
    if order["do"] == "join":
        people[who] = Person()
        await people[who].join(url, order["token"])
    elif order["do"] == "microphone":
        await people[who].microphone(order["to"])
    elif order["do"] == "leave":
        await people.pop(who).leave()
    else:
        raise ValueError(order["do"])


async def main(url):
    people = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        try:
            await asyncio.wait_for(do(url, people, order), PATIENCE)
            answer = {"did": order["do"]}
        except Exception as error:  # every failure is the test's to judge
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
    for person in people.values():
        await person.leave()


asyncio.run(main(sys.argv[1]))
