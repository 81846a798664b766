"""The opening, from options to a connection: dial, TLS and opening handshake."""

from __future__ import annotations

from typing import final

import attrs
import trio

from trio_socket_task._compression import PerMessageDeflate
from trio_socket_task._errors import ConnectError
from trio_socket_task._events import Header, TlsInfo
from trio_socket_task._options import Options

from ._causes import describe
from ._dial import SocketAddress, open_wire
from ._frame_log import log_frames
from ._http import handshake
from ._progress import Progress
from ._wire import Wire, close_forcefully


@final
@attrs.frozen(kw_only=True)
class Connected:
    """An open WebSocket connection."""

    wire: Wire
    header: Header
    protocol: str | None
    per_message_deflate: PerMessageDeflate | None
    """What was agreed on of compression."""
    rest: bytes
    """Bytes that came right after the response's head: the first frames."""
    opened_at: float
    """When the opening handshake was done (Trio's clock)."""
    dial_seconds: float
    proxy_seconds: float | None
    tls_seconds: float | None
    handshake_seconds: float
    local_address: SocketAddress | None
    remote_address: SocketAddress | None
    tls: TlsInfo | None


async def connect(options: Options, progress: Progress) -> Connected:
    """Open a connection; if it is cancelled, or fails, nothing is left open.

    Raises:
        ConnectError: It cannot be opened, for whatever reason.
    """
    try:
        return await _connect(options, progress)
    except ConnectError:
        raise
    except Exception as error:
        why = f"{type(error).__name__} while {progress.phase}: {describe(error)}"
        raise ConnectError(options.address.url, why) from error


async def _connect(options: Options, progress: Progress) -> Connected:
    dialled = await open_wire(options, progress)
    started = trio.current_time()
    try:
        opened = await handshake(dialled.wire, options, progress, dialled.received)
    except BaseException:
        await close_forcefully(dialled.wire)
        raise
    if progress.is_logged:
        progress.log("handshake done: protocol %s, fields %s", opened.protocol or "none", ", ".join(opened.header))
    opened_at = trio.current_time()
    return Connected(
        wire=log_frames(dialled.wire, progress.number, opened.rest),
        header=opened.header,
        protocol=opened.protocol,
        per_message_deflate=opened.per_message_deflate,
        rest=opened.rest,
        opened_at=opened_at,
        dial_seconds=dialled.dial_seconds,
        proxy_seconds=dialled.proxy_seconds,
        tls_seconds=dialled.tls_seconds,
        handshake_seconds=opened_at - started,
        local_address=dialled.local_address,
        remote_address=dialled.remote_address,
        tls=dialled.tls,
    )
