"""AF_PACKET: what passes an interface, judged in batches, with time that passes in silence."""

import socket
import sys
import time

from fwcore import Engine, Verdict

ALL = 3             # ETH_P_ALL
BATCH, WAIT_S = 32, 0.05

if len(sys.argv) != 3:
    sys.exit(f"usage: {sys.argv[0]} INTERFACE FRAMES")
interface, wanted = sys.argv[1], int(sys.argv[2])
engine = Engine("fortios-7", ram_bytes="512MiB", max_connections=10_000)
engine.on("event", lambda batch: print(*(event.kind for event in batch)))
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as tap:
    tap.bind((interface, ALL))
    tap.settimeout(WAIT_S)
    print("listening", flush=True)
    begin, seen = time.time(), 0
    while seen < wanted and time.time() < begin + 5:
        frames, times = [], []
        try:
            while len(frames) < BATCH:
                frames.append(tap.recv(65536))
                times.append(time.time_ns())
        except TimeoutError:
            engine.advance(time.time_ns())
        outcome = engine.process_frames(frames, times)
        seen += len(frames)
        dropped = int((outcome[:, 0] == Verdict.DROP).sum())
        print(f"{len(frames)} frames, {dropped} dropped, {len(engine)} sessions", flush=True)
