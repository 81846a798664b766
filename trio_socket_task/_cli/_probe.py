"""The command `probe`: one connection, taken apart."""

from __future__ import annotations

from statistics import median
from typing import Final, final

import trio

from trio_socket_task._connect import connect_socket
from trio_socket_task._errors import SocketTaskError
from trio_socket_task._options import ConnectOptions
from trio_socket_task._protocol._state import ReadyState
from trio_socket_task._socket_task import SocketTask
from trio_socket_task._text import mask_url

from ._error_text import error_text
from ._output import Output

_PINGS: Final = 10


async def probe(url: str, options: ConnectOptions, output: Output, patience: float) -> int:
    """Print the parts of one connection, and how long each took; the exit code is 1 where an answer was missing."""
    resolution = TimedResolver()
    options["dial"] = resolution.dial
    async with connect_socket(url, **options) as task:
        figures = task.statistics()
        output.line(mask_url(task.url))
        _row(output, "resolution", resolution.seconds, ", ".join(resolution.addresses))
        _row(output, "TCP", max(0.0, (figures.dial_seconds or 0.0) - resolution.seconds))
        if figures.tls_seconds is not None:
            _row(output, "TLS", figures.tls_seconds, _describe_tls(task))
        said = f"protocol {task.protocol or 'none'}"
        if options.get("per_message_deflate"):
            said += f", {'not compressed' if task.per_message_deflate is None else 'compressed'}"
        _row(output, "handshake", figures.handshake_seconds or 0.0, said)
        for name, value in task.header.items():
            output.line(f"    {name}: {value}")
        answered = await _measure_pings(task, output, patience)
        verb = "answered" if task.ready_state is ReadyState.OPEN else "the server closed"
        started = trio.current_time()
        await task.aclose()
        event = await task.wait_closed()
        answer = "no answer" if event.peer_code is None else f"{verb} with {event.peer_code} {event.peer_reason}"
        _row(output, "close", trio.current_time() - started, answer)
    return 0 if answered and event.peer_code is not None else 1


async def _measure_pings(task: SocketTask, output: Output, patience: float) -> bool:
    """Print how long pongs take; whether all have come."""
    round_trips: list[float] = []
    try:
        with trio.move_on_after(patience) as scope:
            for _ in range(_PINGS):
                round_trips.append(await task.ping())
                scope.deadline = trio.current_time() + patience
    except SocketTaskError as error:
        output.line(f"  {'round trip':10} {'-':>9}     {error_text(error)}")
        return False
    if scope.cancelled_caught:
        output.line(f"  {'round trip':10} {'-':>9}     no pong within {patience:g} s to ping {len(round_trips) + 1}")
        return False
    span = f"{min(round_trips) * 1000:.2f} to {max(round_trips) * 1000:.2f}"
    _row(output, "round trip", median(round_trips), f"median of {_PINGS} pings, {span}")
    return True


def _row(output: Output, name: str, seconds: float, text: str = "") -> None:
    output.line(f"  {name:10} {seconds * 1000:9.2f} ms  {text}".rstrip())


@final
class TimedResolver:
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


def _describe_tls(task: SocketTask) -> str:
    return "" if task.tls is None else f"{task.tls.version} {task.tls.cipher}".rstrip()
