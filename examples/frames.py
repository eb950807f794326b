"""A list of frames: a verdict and a reason for each, and the session that came of them."""

from fwcore import Engine, Reason, Verdict


def segment(flags: int, source: bytes, destination: bytes, ports: tuple[int, int]) -> bytes:
    """An Ethernet frame with a TCP segment."""
    tcp = ports[0].to_bytes(2, "big") + ports[1].to_bytes(2, "big") + bytes(8)
    tcp += bytes([5 << 4, flags]) + bytes(6)
    ip = bytes([0x45, 0, 0, 20 + len(tcp)]) + bytes(4) + bytes([64, 6, 0, 0])
    return bytes(12) + b"\x08\x00" + ip + source + destination + tcp


SYN, ACK = 2, 16
CLIENT, SERVER = bytes([10, 0, 0, 5]), bytes([203, 0, 113, 9])
frames = [
    segment(SYN, CLIENT, SERVER, (4321, 443)),
    segment(SYN | ACK, SERVER, CLIENT, (443, 4321)),
    segment(ACK, CLIENT, SERVER, (4321, 443)),
]

with Engine() as engine:
    for verdict, reason in engine.process_frames(frames, [0, 1_000_000, 2_000_000]).tolist():
        print(Verdict(verdict).name, Reason(reason).name)
    print("10.0.0.5:4321-203.0.113.9:443/tcp" in engine, len(engine))
