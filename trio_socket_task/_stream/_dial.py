"""Options to a wire: TCP, TLS, or whatever `dial` reaches."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import final

import attrs
import trio

from trio_socket_task._errors import ConnectError
from trio_socket_task._events import TlsInfo
from trio_socket_task._options import Options

from ._causes import describe, root_cause
from ._environment import choose_proxy
from ._progress import Progress
from ._proxy import Tunnel, open_tunnel
from ._tls import TlsWire
from ._wire import Wire, close_forcefully, wire_over

SocketAddress = tuple[str, int] | str
"""The host and the port of TCP, or the path of a Unix socket."""


@final
@attrs.frozen(kw_only=True)
class Dialled:
    """A connection, and how long it took."""

    wire: Wire
    received: bytes
    """Bytes of the server's that have come already."""
    dial_seconds: float
    proxy_seconds: float | None
    tls_seconds: float | None
    tls: TlsInfo | None
    local_address: SocketAddress | None
    remote_address: SocketAddress | None


async def open_wire(options: Options, progress: Progress) -> Dialled:
    """Connect; if it is cancelled, or fails, nothing is left open.

    Raises:
        ConnectError: The server cannot be reached, or TLS fails; the cause says why, and is a TypeError where `dial`
            is not what it must be.
    """
    proxy, started = choose_proxy(options), trio.current_time()
    if proxy is None:
        progress.connects(by_dial=options.dial is not None)
        if progress.is_logged and options.dial is None:
            await _log_resolution(options, progress)
        stream = await _dial(options)
        wire = wire_over(stream, is_ours=options.dial is None, tcp_no_delay=options.tcp_no_delay)
        tunnel = Tunnel(wire=wire, stream=stream, dial_seconds=trio.current_time() - started)
    else:
        tunnel = await open_tunnel(proxy, options, progress)
    connected, wire, received = trio.current_time(), tunnel.wire, tunnel.received
    tls, tls_seconds = None, None
    try:
        local, remote = _addresses(tunnel.stream)
        if progress.is_logged:
            progress.log("connected from %s to %s", _shown(local), _shown(remote))
        if options.address.secure:
            progress.secures()
            wire = secured = await _secure(wire, options, received)
            tls, tls_seconds, received = secured.info(), trio.current_time() - connected, b""
            if progress.is_logged:
                progress.log("TLS done: %s %s, ALPN %s", tls.version, tls.cipher, tls.alpn_protocol or "none")
    except BaseException:
        await close_forcefully(wire)
        raise
    return Dialled(
        wire=wire,
        received=received,
        dial_seconds=tunnel.dial_seconds,
        proxy_seconds=tunnel.proxy_seconds,
        tls_seconds=tls_seconds,
        tls=tls,
        local_address=local,
        remote_address=remote,
    )


async def _log_resolution(options: Options, progress: Progress) -> None:
    """Resolve the name once more than is needed, because Trio does not tell what it found."""
    address = options.address
    with suppress(OSError):  # which will be there again
        found = await trio.socket.getaddrinfo(address.host, address.port, type=trio.socket.SOCK_STREAM)
        progress.log("resolved to %s", ", ".join(dict.fromkeys(str(place[0]) for *_, place in found)))


def _addresses(stream: trio.abc.Stream) -> tuple[SocketAddress | None, SocketAddress | None]:
    """Return this side's and the peer's address, None where a stream has none, or has broken already."""
    while isinstance(stream, trio.SSLStream):
        stream = stream.transport_stream
    if not isinstance(stream, trio.SocketStream):
        return None, None
    return _address(stream.socket.getsockname), _address(stream.socket.getpeername)


def _shown(address: SocketAddress | None) -> str:
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else address or "no address"


def _address(ask: Callable[[], object]) -> SocketAddress | None:
    try:
        found = ask()
    except OSError:
        return None
    match found:
        case (str() as host, int() as port, *_):
            return host, port
        case str():
            return found
        case _:
            return None


async def _dial(options: Options) -> trio.abc.Stream:
    address, dial = options.address, options.dial or trio.open_tcp_stream
    try:
        dialling = dial(address.host, address.port)
        if not inspect.isawaitable(dialling):
            raise TypeError(f"dial must be an async function, but it returned {type(dialling).__name__}")  # noqa: TRY301
        stream = await dialling
    except Exception as error:  # noqa: BLE001 (whatever a foreign dial raises)
        raise ConnectError(address.url, describe(error)) from root_cause(error)
    except BaseExceptionGroup as group:  # it failed while it was called off, which is what counts
        raise group.split(Exception)[1] or group from None
    if not isinstance(stream, trio.abc.Stream):
        mistake = TypeError("dial breaks the rule of its type, Dial")
        raise ConnectError(address.url, f"dial must return a trio.abc.Stream, not {type(stream).__name__}") from mistake
    return stream


async def _secure(wire: Wire, options: Options, received: bytes) -> TlsWire:
    try:
        secured = TlsWire(wire, options.ssl_context, options.address.server_name, received)
        await secured.handshake()
    except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
        cause = root_cause(error)
        raise ConnectError(options.address.url, f"the TLS handshake failed: {describe(cause)}") from cause
    return secured
