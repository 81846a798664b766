"""The opening of a session: when its turn has come, within its time, unless it is called off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import trio

from trio_socket_task._errors import ConnectError, ConnectTimeoutError
from trio_socket_task._options import Options
from trio_socket_task._protocol._state import Life
from trio_socket_task._stream._causes import forget_tracebacks
from trio_socket_task._stream._connect import Connected, connect
from trio_socket_task._stream._progress import Progress
from trio_socket_task._stream._wire import close_forcefully
from trio_socket_task._text import mask_url

from ._ending import Ending


async def open_connection(
    options: Options,
    wait_for: Sequence[Callable[[], Awaitable[object]]],
    life: Life,
    ending: Ending,
    progress: Progress,
) -> Connected | None:
    """Return an open connection, once what it waits for has happened; None where it failed, which is noted and told."""
    deadline = ending.deadline
    if progress.is_logged:
        progress.log("connecting to %s", mask_url(options.address.url))
    connected = None
    with deadline.scope as scope:
        for wait in wait_for:
            await wait()
        await trio.lowlevel.checkpoint_if_cancelled()
        deadline.limit(options.timeout)
        try:
            connection = await connect(options, progress)
        except ConnectError as error:
            forget_tracebacks(error)  # whose frames refer to the session: a reference cycle
            ending.fail(error)
            return None
        if life.open():
            connected = connection
        else:
            await close_forcefully(connection.wire)
    if scope.cancelled_caught:  # by the deadline; or by a close, after which nothing is a failure
        ending.fail(ConnectTimeoutError(options.address.url, options.timeout, progress.phase))
    return connected
