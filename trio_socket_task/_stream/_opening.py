"""The opening, from options to a connection: dial, TLS and handshake."""

from __future__ import annotations

from traceback import clear_frames
from typing import final

import attrs
import trio

from trio_socket_task._errors import ConnectError
from trio_socket_task._events import Header
from trio_socket_task._options import Options

from ._connect import discard, open_wire, words
from ._http import shake_hands
from ._progress import Progress
from ._wire import Wire


@final
@attrs.frozen(kw_only=True)
class Connection:
    """An open WebSocket connection."""

    wire: Wire
    header: Header
    protocol: str | None
    rest: bytes
    """Bytes that came right after the response's head: the first frames."""
    dial_seconds: float
    tls_seconds: float | None
    handshake_seconds: float


async def open_connection(options: Options, progress: Progress) -> Connection:
    """Open a connection; if it is cancelled, or fails, nothing is left open.

    Raises:
        ConnectError: It cannot be opened, for whatever reason.
    """
    try:
        return await _open_connection(options, progress)
    except ConnectError as error:
        if error.__cause__ is not None:
            clear_frames(error.__cause__.__traceback__)  # which hold what came in
        raise
    except Exception as error:
        why = f"{type(error).__name__} while {progress.phase}: {words(error)}"
        raise ConnectError(options.address.url, why) from error


async def _open_connection(options: Options, progress: Progress) -> Connection:
    dialled = await open_wire(options, progress)
    started = trio.current_time()
    try:
        opened = await shake_hands(dialled.wire, options, progress)
    except BaseException:
        await discard(dialled.wire)
        raise
    return Connection(
        wire=dialled.wire,
        header=opened.header,
        protocol=opened.protocol,
        rest=opened.rest,
        dial_seconds=dialled.dial_seconds,
        tls_seconds=dialled.tls_seconds,
        handshake_seconds=trio.current_time() - started,
    )
