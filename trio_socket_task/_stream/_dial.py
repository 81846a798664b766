"""Options to a wire: TCP, TLS, or whatever `dial` reaches."""

from __future__ import annotations

import inspect
from typing import final

import attrs
import trio

from trio_socket_task._errors import ConnectError
from trio_socket_task._options import Options

from ._causes import describe, root_cause
from ._environment import choose_proxy
from ._progress import Progress
from ._proxy import Tunnel, open_tunnel
from ._tls import TlsWire
from ._wire import Wire, close_forcefully, wire_over


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


async def open_wire(options: Options, progress: Progress) -> Dialled:
    """Connect; if it is cancelled, or fails, nothing is left open.

    Raises:
        ConnectError: The server cannot be reached, or TLS fails; the cause says why, and is a TypeError where `dial`
            is not what it must be.
    """
    proxy = choose_proxy(options)
    if proxy is None:
        started = trio.current_time()
        progress.connects(by_dial=options.dial is not None)
        stream = await _dial(options)
        wire = wire_over(stream, tcp_no_delay=options.tcp_no_delay)
        tunnel = Tunnel(wire=wire, dial_seconds=trio.current_time() - started)
    else:
        tunnel = await open_tunnel(proxy, options, progress)
    connected, wire, received, tls_seconds = trio.current_time(), tunnel.wire, tunnel.received, None
    if options.address.secure:
        progress.secures()
        try:
            wire = await _secure(wire, options, received)
        except BaseException:
            await close_forcefully(wire)
            raise
        tls_seconds, received = trio.current_time() - connected, b""
    return Dialled(
        wire=wire,
        received=received,
        dial_seconds=tunnel.dial_seconds,
        proxy_seconds=tunnel.proxy_seconds,
        tls_seconds=tls_seconds,
    )


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


async def _secure(wire: Wire, options: Options, received: bytes) -> Wire:
    try:
        secured = TlsWire(wire, options.ssl_context, options.address.server_name, received)
        await secured.handshake()
    except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
        cause = root_cause(error)
        raise ConnectError(options.address.url, f"the TLS handshake failed: {describe(cause)}") from cause
    return secured
