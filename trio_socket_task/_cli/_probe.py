"""The command `probe`: one connection, taken apart."""

from __future__ import annotations

from statistics import median

import trio

from trio_socket_task._connect import connect_socket
from trio_socket_task._options import ConnectOptions
from trio_socket_task._task import SocketTask
from trio_socket_task._tls import TlsWire

_PINGS = 10


async def probe(url: str, options: ConnectOptions) -> int:
    """Print the parts of one connection, and how long each took."""
    resolution = Resolution()
    options["dial"] = resolution.dial
    async with connect_socket(url, **options) as task:
        figures = task.statistics()
        print(task.url)
        _row("resolution", resolution.seconds, ", ".join(resolution.addresses))
        _row("TCP", (figures.dial_seconds or 0.0) - resolution.seconds, "")
        if figures.tls_seconds is not None:
            _row("TLS", figures.tls_seconds, _tls_words(task))
        _row("handshake", figures.handshake_seconds or 0.0, f"protocol {task.protocol or 'none'}")
        for name, value in task.header.items():
            print(f"    {name}: {value}")
        trips = [await task.ping() for _ in range(_PINGS)]
        _row(
            "round trip", median(trips), f"median of {_PINGS} pings, {min(trips) * 1000:.2f} to {max(trips) * 1000:.2f}"
        )
        started = trio.current_time()
        await task.aclose()
        event = await task.wait_closed()
        answer = (
            "no answer" if event.peer_code is None else f"answered with {event.peer_code} {event.peer_reason}".rstrip()
        )
        _row("close", trio.current_time() - started, answer)
    return 0


def _row(name: str, seconds: float, words: str) -> None:
    print(f"  {name:10} {seconds * 1000:9.2f} ms  {words}".rstrip())


class Resolution:
    """Resolves a name once more than is needed, to time it."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.addresses: list[str] = []

    async def dial(self, host: str, port: int) -> trio.abc.Stream:
        """Resolve, then connect as ever."""
        started = trio.current_time()
        found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_STREAM)
        self.seconds = trio.current_time() - started
        self.addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        return await trio.open_tcp_stream(host, port)


def _tls_words(task: SocketTask) -> str:
    connection = task._driver.connection
    wire = None if connection is None else connection.wire
    return wire.describe() if isinstance(wire, TlsWire) else ""
