"""Measure what compression saves and costs, for `docs/howto/compression.md`: ``python tests/bench/speed/deflate.py``.

Messages are JSON of a stream of trades that does not repeat, or random bytes. Each is compressed as permessage-deflate
does it: a raw stream with a sync flush, the context kept. It takes the backends that are installed.
"""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys
import time
import zlib
from pathlib import Path
from types import ModuleType

from trades import messages

BACKENDS = {"zlib": "zlib", "zlib-ng": "zlib_ng.zlib_ng", "isal": "isal.isal_zlib"}
SIZES = (50, 500, 5_000, 50_000)
TAIL = b"\x00\x00\xff\xff"


def measure(backend: ModuleType, setting: tuple[int, int, int], sent: list[bytes]) -> tuple[float, float, float]:
    """Give microseconds to deflate and to inflate a message, and the part of its bytes that is left."""
    level, bits, memory = setting
    deflate = backend.compressobj(level, zlib.DEFLATED, -bits, memory)
    started = time.process_time()
    compressed = [(deflate.compress(message) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4] for message in sent]
    deflating = time.process_time() - started
    inflate = backend.decompressobj(-bits)
    started = time.process_time()
    got = [inflate.decompress(message + TAIL, 2**16) for message in compressed]
    inflating = time.process_time() - started
    assert got == sent
    count = len(sent)
    return deflating / count * 1e6, inflating / count * 1e6, sum(map(len, compressed)) / sum(map(len, sent))


def resident() -> int:
    """Give the resident memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def memory_of(name: str, level: int, bits: int, memory: int) -> tuple[float, float]:
    """Give KiB that a context takes once it has seen 100 KB: deflating, inflating."""
    backend = importlib.import_module(BACKENDS[name])
    sent = messages("json", 500, 200)
    kept: list[object] = []
    figures = []
    for kind in ("deflate", "inflate"):
        before = resident()
        stream = zlib.compressobj(6, zlib.DEFLATED, -bits, memory)
        compressed = [stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH) for message in sent]
        for _ in range(100):
            context = (
                backend.compressobj(level, zlib.DEFLATED, -bits, memory)
                if kind == "deflate"
                else backend.decompressobj(-bits)
            )
            for message in sent if kind == "deflate" else compressed:
                if kind == "deflate":
                    context.compress(message)
                    context.flush(zlib.Z_SYNC_FLUSH)
                else:
                    context.decompress(message, 2**16)
            kept.append(context)
        figures.append((resident() - before) / 100 / 1024)
    return figures[0], figures[1]


def main() -> None:
    """Print the tables."""
    if sys.argv[1:2] == ["memory"]:
        name, *numbers = sys.argv[2:]
        print(*(f"{figure:.0f}" for figure in memory_of(name, *map(int, numbers))))
        return
    found = {}
    for name, module in BACKENDS.items():
        try:
            found[name] = importlib.import_module(module)
        except ImportError:
            print(f"{name} is not installed")
    settings = [("zlib", 6, 15, 8), ("zlib", 6, 12, 5), ("zlib", 3, 15, 8), ("zlib", 1, 15, 8), ("zlib", 1, 12, 5)]
    settings += [("zlib", 3, 12, 5), ("zlib", 6, 13, 6), ("zlib", 6, 15, 9), ("zlib", 9, 15, 8)]
    settings += [("zlib-ng", 6, 15, 8), ("zlib-ng", 6, 12, 5), ("zlib-ng", 2, 15, 8), ("zlib-ng", 1, 15, 8)]
    settings += [("isal", 1, 15, 8), ("isal", 2, 15, 8), ("isal", 3, 15, 8), ("isal", 2, 12, 5)]
    print(
        "backend level bits memory |"
        + "".join(f" json {size} |" for size in SIZES)
        + " random 5000 | KiB deflate inflate"
    )
    for name, level, bits, memory in settings:
        if name not in found:
            continue
        cells = []
        for kind, size in [*(("json", size) for size in SIZES), ("random", 5_000)]:
            sent = messages(kind, size, max(30, 1_500_000 // size))
            best = min(measure(found[name], (level, bits, memory), sent) for _ in range(3))
            cells.append(f"{best[0]:.1f} / {best[1]:.1f}, {best[2]:.2f}")
        command = [sys.executable, __file__, "memory", name, str(level), str(bits), str(memory)]
        kib = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        print(f"{name} {level} {bits} {memory} | " + " | ".join(cells) + f" | {kib}", flush=True)


if __name__ == "__main__":
    main()
