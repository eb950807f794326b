"""asyncio: frames come through a queue; the engine is used by one task, and time passes too."""

import asyncio
import time

from fwcore import Engine
from fwcore.capture.synth import make


async def source(queue: asyncio.Queue) -> None:
    """Whoever has frames: here, made up."""
    for chunk in make("mix", packets=2_000, sessions=50, seed=1):
        for i in range(len(chunk)):
            await queue.put(chunk.frame(i))
    await queue.put(None)


async def firewall(queue: asyncio.Queue, engine: Engine) -> None:
    """Takes what is there, and waits no longer than a tick."""
    while True:
        frames = [await queue.get()]
        while not queue.empty():
            frames.append(queue.get_nowait())
        last = frames[-1] is None
        frames = [frame for frame in frames if frame is not None]
        engine.process_frames(frames, [time.time_ns()] * len(frames))
        if last:
            return


async def main() -> None:
    """Both, until the frames end."""
    queue: asyncio.Queue = asyncio.Queue(maxsize=256)
    with Engine(max_connections=1000) as engine:
        await asyncio.gather(source(queue), firewall(queue, engine))
        print(engine.counters()["packets"], "packets,", len(engine), "sessions")


asyncio.run(main())
