"""open_resilient_socket: a resilient socket for the length of a block."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Unpack, final

import trio

from trio_socket_task._connect import manager_or_default
from trio_socket_task._manager import SocketManager
from trio_socket_task._options import ConnectOptions
from trio_socket_task._service_nursery import ServiceBlock

from ._backoff import Backoff
from ._label import SocketLabel
from ._outbox import Outbox
from ._retry import Retry
from ._sender import Sender
from ._settings import OnConnected, Settings, Target, check_settings
from ._socket import ResilientSocket
from ._states import States
from ._supervisor import Supervisor

_DIRECT = Outbox()  # stays empty where messages go to the connection or nowhere


@final
class ResilientBlock(ServiceBlock[ResilientSocket]):
    """The block of `open_resilient_socket`."""

    maker = "open_resilient_socket"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._label = SocketLabel(settings.url)
        self._sender = Sender(settings.outbox or _DIRECT, self._label)

    def prepare(self) -> None:
        """Take the run's own manager, where none was named."""
        manager = manager_or_default(self._settings.manager)
        self.supervisor = Supervisor(self._settings, manager, self._sender, States(self._label))

    async def start(self, nursery: trio.Nursery) -> ResilientSocket:
        """Start to connect."""
        nursery.start_soon(self.supervisor.run, nursery)
        return ResilientSocket(self.supervisor, self._sender, self._settings.outbox)

    async def finish(self) -> None:
        """Close the socket."""
        await self.supervisor.aclose(1000, "")

    def abort(self) -> None:
        """Drop the socket."""
        self.supervisor.abort()


def open_resilient_socket(  # noqa: PLR0913 (each says something of its own)
    target: Target,
    *,
    backoff: Backoff = Backoff(),  # noqa: B008 (it is frozen)
    retry: Retry = Retry(),  # noqa: B008 (as above)
    outbox: Outbox | None = Outbox(),  # noqa: B008 (as above)
    on_connected: OnConnected | None = None,
    manager: SocketManager | None = None,
    **options: Unpack[ConnectOptions],
) -> AbstractAsyncContextManager[ResilientSocket]:
    """Open a socket that connects again when it is lost, for the length of a block.

    ``async with open_resilient_socket(url) as socket:`` gives a `ResilientSocket`, which begins to connect.

    Leaving gives the connection what waits in the outbox, closes it with 1000 and waits until it is CLOSED, at most
    twice its ``close_timeout``. When the body raises or is cancelled, the body ends first; then the connection is
    dropped. The body's exception comes out unchanged. What the network did is raised by nothing but the socket's own
    calls, and only when it has given up.

    Args:
        target: A URL, or an async function that gives one, or a URL and options for it; it is asked before each
            attempt, so that each can have a fresh token or another host. What it raises makes the attempt fail.
        backoff: How long to wait between attempts.
        retry: Whether there is another attempt.
        outbox: Where messages wait for a connection, and for a sign that the server has read them; None for nowhere,
            so that `ResilientSocket.send` needs a connection.
        on_connected: An async function, given each new `SocketTask` before anything else is sent or received on it: to
            log in, to subscribe. If it raises, the attempt has failed; it is cancelled when the connection ends.
        manager: Whose limit counts while there is a connection; by default the run's own. A full one is waited for.
        options: See `ConnectOptions`. The heartbeat is ``Heartbeat()`` unless they say otherwise, None for none.

    Raises:
        InvalidOptionsError: An argument breaks its rule; nothing was dialled.
    """
    return ResilientBlock(
        check_settings(
            Settings(
                target=target,
                backoff=backoff,
                retry=retry,
                outbox=outbox,
                on_connected=on_connected,
                manager=manager,
                options=options,
            )
        )
    )
