"""Talk to Node's ws, every combination of compression's parameters, over TCP and TLS: ``python run.py NODE_MODULES``.

Each conversation is text and binary of many sizes, one by one and in a burst, sent back whole or in fragments.
"""

from __future__ import annotations

import json
import random
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from urllib.parse import quote

import trio
import trustme

from trio_socket_task import ConnectOptions, HandshakeError, PerMessageDeflate, connect_socket

SIZES = (0, 1, 63, 64, 500, 65_535, 65_536, 400_000)
BURST = 100
OFFERS = [
    PerMessageDeflate(client_max_window_bits=15, memory_level=8, threshold=0),
    PerMessageDeflate(),
    PerMessageDeflate(server_max_window_bits=9, client_max_window_bits=9, level=1),
    PerMessageDeflate(server_no_context_takeover=True),
    PerMessageDeflate(client_no_context_takeover=True, server_max_window_bits=12),
]
FLAGS, WINDOWS = (None, True), (None, 10, 15)
Asked = dict[str, int | bool]
"""The option `perMessageDeflate` of ws."""


def asked() -> Iterator[Asked]:
    """Give what servers ask for: every combination."""
    names = ("serverNoContextTakeover", "clientNoContextTakeover", "serverMaxWindowBits", "clientMaxWindowBits")
    for values in product(FLAGS, FLAGS, WINDOWS, WINDOWS):
        yield {"threshold": 0, **{name: value for name, value in zip(names, values, strict=True) if value}}


def expected(offer: PerMessageDeflate, server: Asked) -> PerMessageDeflate | None:
    """Give what both agree on; None where ws refuses, because a window would be larger than was offered."""
    server_bits = int(server.get("serverMaxWindowBits", offer.server_max_window_bits))
    client_bits = int(server.get("clientMaxWindowBits", offer.client_max_window_bits))
    if server_bits > offer.server_max_window_bits or client_bits > offer.client_max_window_bits:
        return None
    return PerMessageDeflate(
        server_max_window_bits=server_bits,
        client_max_window_bits=client_bits,
        server_no_context_takeover=bool(server.get("serverNoContextTakeover")) or offer.server_no_context_takeover,
        client_no_context_takeover=bool(server.get("clientNoContextTakeover")) or offer.client_no_context_takeover,
        level=offer.level,
        memory_level=offer.memory_level,
        threshold=offer.threshold,
    )


def messages() -> list[str | bytes]:
    """Give text that shrinks, and bytes that do not."""
    noise = random.Random(1)  # noqa: S311 (not for secrets)
    made: list[str | bytes] = []
    for size in SIZES:
        made += ["äöü€" * (size // 4), noise.randbytes(size)]
    return made


async def converse(url: str, options: ConnectOptions, agreed: PerMessageDeflate | None) -> int:
    """Have one conversation, and return how many messages came back."""
    try:
        async with connect_socket(url, **options) as task:
            assert task.per_message_deflate == agreed, task.per_message_deflate
            for data in messages():
                await task.send(data)
                assert await task.receive() == data
            burst = [f"number {number} " * (number % 40) for number in range(BURST)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, task.send, burst)
                for text in burst:
                    assert await task.receive() == text
            await task.ping()
            figures = task.statistics()
            assert figures.wire_bytes_sent < figures.bytes_sent
            assert figures.wire_bytes_received < figures.bytes_received
    except HandshakeError as error:
        if agreed is None and error.status_code == 400:
            return 0
        raise
    assert agreed is not None
    assert task.close_event is not None
    assert task.close_event.code == 1000
    return len(messages()) + BURST


async def send_all(send: Callable[[str], Awaitable[None]], burst: list[str]) -> None:
    """Send a burst."""
    for text in burst:
        await send(text)


@contextmanager
def serving(modules: str) -> Iterator[tuple[list[int], ssl.SSLContext]]:
    """Run the server; give its ports, and whom to trust."""
    with tempfile.TemporaryDirectory() as folder:
        authority, context = trustme.CA(), ssl.create_default_context()
        authority.configure_trust(context)
        certificate = authority.issue_cert("127.0.0.1")
        key, chain = Path(folder) / "key.pem", Path(folder) / "chain.pem"
        certificate.private_key_pem.write_to_path(key)
        certificate.cert_chain_pems[0].write_to_path(chain)
        script = Path(__file__).with_name("server.js")
        command = ["node", str(script), str(Path(modules).resolve() / "ws"), str(key), str(chain)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline()), context
            process.communicate()  # which ends its input, and so itself


async def main(modules: str) -> int:
    """Run all combinations, print the counts, and return how many failed."""
    counts: Counter[str] = Counter()
    started = time.monotonic()
    with serving(modules) as (ports, context):
        for scheme, port in zip(("ws", "wss"), ports, strict=True):
            for offer, server, query in product(OFFERS, asked(), ("", "?fragments")):
                url = f"{scheme}://127.0.0.1:{port}/{quote(json.dumps(server))}{query}"
                options: ConnectOptions = {"per_message_deflate": offer, "tcp_no_delay": True}
                if scheme == "wss":
                    options["ssl_context"] = context
                try:
                    with trio.fail_after(60):
                        number = await converse(url, options, expected(offer, server))
                except Exception as error:  # noqa: BLE001 (it is counted)
                    counts["failed"] += 1
                    print(f"FAILED {scheme} {offer} {server} {query}: {type(error).__name__}: {error}")
                else:
                    counts["messages"] += number
                    counts[f"{scheme} {'good' if number else 'refused, as expected'}"] += 1
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    print(f"{counts['failed']} failed, after {time.monotonic() - started:.0f} s")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(trio.run(main, sys.argv[1]))
