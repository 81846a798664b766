"""The opening, from options to a connection: dial, TLS and opening handshake."""

from __future__ import annotations

from traceback import clear_frames
from typing import final

import attrs
import trio

from trio_socket_task._errors import ConnectError
from trio_socket_task._events import Header
from trio_socket_task._options import Options

from ._causes import describe
from ._dial import open_wire
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
    rest: bytes
    """Bytes that came right after the response's head: the first frames."""
    dial_seconds: float
    proxy_seconds: float | None
    tls_seconds: float | None
    handshake_seconds: float


async def connect(options: Options, progress: Progress) -> Connected:
    """Open a connection; if it is cancelled, or fails, nothing is left open.

    Raises:
        ConnectError: It cannot be opened, for whatever reason.
    """
    try:
        return await _connect(options, progress)
    except ConnectError as error:
        if error.__cause__ is not None:
            clear_frames(error.__cause__.__traceback__)  # which hold what came in
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
    return Connected(
        wire=dialled.wire,
        header=opened.header,
        protocol=opened.protocol,
        rest=opened.rest,
        dial_seconds=dialled.dial_seconds,
        proxy_seconds=dialled.proxy_seconds,
        tls_seconds=dialled.tls_seconds,
        handshake_seconds=trio.current_time() - started,
    )
