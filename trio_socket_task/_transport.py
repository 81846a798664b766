"""Options to a connected stream: TCP, TLS, or whatever `dial` reaches."""

from __future__ import annotations

import functools
import socket
import ssl
from contextlib import AsyncExitStack, suppress
from typing import final

import attrs
import trio

from ._errors import ConnectError
from ._options import Options
from ._wire import Wire


@final
@attrs.frozen(kw_only=True)
class Dialled:
    """A connected stream, and how long it took."""

    stream: trio.abc.Stream
    dial_seconds: float
    tls_seconds: float | None


async def open_stream(options: Options) -> Dialled:
    """Connect; if it is cancelled, or fails, nothing is left open.

    Raises:
        ConnectError: The server cannot be reached, or TLS fails; the cause says why.
    """
    address = options.address
    started = trio.current_time()
    try:
        stream = await (options.dial or trio.open_tcp_stream)(address.host, address.port)
    except Exception as error:  # noqa: BLE001 (whatever a foreign dial raises)
        raise ConnectError(address.url, words(error)) from root(error)
    if not isinstance(stream, trio.abc.Stream):
        raise ConnectError(address.url, f"dial must return a trio.abc.Stream, not {type(stream).__name__}")
    connected = trio.current_time()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(discard, stream)
        if isinstance(stream, trio.SocketStream) and stream.socket.family != getattr(socket, "AF_UNIX", None):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, options.tcp_no_delay)
        if not address.secure:
            stack.pop_all()
            return Dialled(stream=stream, dial_seconds=connected - started, tls_seconds=None)
        # https_compatible: a WebSocket's end is its Close frame, and few servers send close_notify (RFC 2818 2.2.1).
        secured = trio.SSLStream(
            stream, options.ssl_context or _default_context(), server_hostname=address.host, https_compatible=True
        )
        try:
            await secured.do_handshake()
        except Exception as error:  # noqa: BLE001 (as above)
            raise ConnectError(address.url, f"the TLS handshake failed: {words(root(error))}") from root(error)
        stack.pop_all()
    return Dialled(stream=secured, dial_seconds=connected - started, tls_seconds=trio.current_time() - connected)


async def discard(resource: trio.abc.AsyncResource | Wire) -> None:
    """Close what is of no further use, at once; that it does not close well is no news."""
    with suppress(Exception), trio.CancelScope() as scope:
        scope.cancel()
        await resource.aclose()


@functools.cache
def _default_context() -> ssl.SSLContext:
    """Read the system's certificate authorities, once in a process because that takes milliseconds."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def root(error: BaseException) -> BaseException:
    """Give the OS or TLS error behind Trio's own."""
    if isinstance(error, trio.BrokenResourceError) and error.__cause__ is not None:
        return root(error.__cause__)
    return error


def words(error: BaseException) -> str:
    """Say what an exception says, with the failures of single addresses that Trio keeps in its cause."""
    said = str(error) or type(error).__name__
    if isinstance(error.__cause__, BaseExceptionGroup):
        said += f" ({'; '.join(words(single) for single in error.__cause__.exceptions)})"
    return said
