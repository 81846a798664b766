"""Options to a wire: TCP, TLS, or whatever `dial` reaches."""

from __future__ import annotations

import functools
import inspect
import socket
import ssl
from contextlib import suppress
from typing import final

import attrs
import trio

from trio_socket_task._errors import ConnectError
from trio_socket_task._options import Options

from ._causes import describe, root_cause
from ._progress import Progress
from ._tls import TlsWire
from ._wire import Wire, close_forcefully, wire_for


@final
@attrs.frozen(kw_only=True)
class Dialled:
    """A connection, and how long it took."""

    wire: Wire
    dial_seconds: float
    tls_seconds: float | None


async def open_wire(options: Options, progress: Progress) -> Dialled:
    """Connect; if it is cancelled, or fails, nothing is left open.

    Raises:
        ConnectError: The server cannot be reached, or TLS fails; the cause says why, and is a TypeError where `dial`
            is not what it must be.
    """
    address = options.address
    started = trio.current_time()
    progress.connects(by_dial=options.dial is not None)
    stream = await _dial(options)
    connected = trio.current_time()
    try:
        if isinstance(stream, trio.SocketStream) and stream.socket.family != getattr(socket, "AF_UNIX", None):
            with suppress(OSError):  # no TCP, such as AF_VSOCK, or a connection that has broken, which reading tells
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, options.tcp_no_delay)
        wire = wire_for(stream)
        if not address.secure:
            return Dialled(wire=wire, dial_seconds=connected - started, tls_seconds=None)
        progress.secures()
        secured = await _secure(wire, options)
    except BaseException:
        await close_forcefully(stream)
        raise
    return Dialled(wire=secured, dial_seconds=connected - started, tls_seconds=trio.current_time() - connected)


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


async def _secure(wire: Wire, options: Options) -> Wire:
    try:
        secured = TlsWire(wire, options.ssl_context or _default_context(), options.address.server_name)
        await secured.handshake()
    except Exception as error:  # noqa: BLE001 (whatever a foreign stream raises)
        cause = root_cause(error)
        raise ConnectError(options.address.url, f"the TLS handshake failed: {describe(cause)}") from cause
    return secured


@functools.cache
def _default_context() -> ssl.SSLContext:
    """Read the system's certificate authorities, once in a process because that takes milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context
