"""The sockets of a program: which is the current one, and to which the global listeners are attached."""

from __future__ import annotations

from functools import partial
from typing import final

import trio

from trio_socket_task._manager import SocketManager, members_of
from trio_socket_task._options import ConnectOptions

from ._arguments import Callback
from ._callbacks import ProgramNursery
from ._listeners import Kind
from ._program_callbacks import ProgramCallbacks
from ._socket import Socket


@final
class Sockets:
    """The sockets whose close has not been delivered, the earliest first."""

    def __init__(
        self,
        manager: SocketManager,
        nursery: ProgramNursery,
        callbacks: ProgramCallbacks,
        *,
        tells_close: bool,
        has_profile: bool,
    ) -> None:
        self.manager = manager
        self._members = members_of(manager)
        self.sockets: list[Socket] = []
        self._listeners: dict[Kind, Callback] = {}
        self._nursery = nursery
        self._callbacks = callbacks
        self._tells_close = tells_close
        self._has_profile = has_profile

    def connect(self, url: str, options: ConnectOptions) -> Socket:
        """Add a socket; what it raises is what `SocketManager.connect_socket` does."""
        member = self._members.connect(url, options)
        socket = Socket(
            *(member, self._nursery, self._callbacks), tells_close=self._tells_close, has_profile=self._has_profile
        )
        self._nursery.start_soon(partial(self._run, socket))
        self.sockets.append(socket)
        self._attach()
        return socket

    async def _run(self, socket: Socket) -> None:
        await socket.call_until_close()
        self.sockets.remove(socket)
        self._attach()
        await trio.lowlevel.checkpoint()
        await socket.call_rest()

    @property
    def current(self) -> Socket | None:
        """The manager's current socket; without one, the earliest whose close has not been delivered.

        So the callbacks of what fails because of that close are called before it is delivered.
        """
        member = self._members.current
        for socket in self.sockets:
            if socket.member is member:
                return socket
        return self.sockets[0] if self.sockets else None

    def close_current(self, socket: Socket, code: int, reason: str) -> None:
        """Close the current socket, which is open; the next one takes its place."""
        if not socket.has_global_listeners:
            socket.attach(self._listeners)
        self.manager.close_socket(code, reason)
        self._attach()

    def listen(self, kind: Kind, listener: Callback | None) -> None:
        """Listen to the current socket and those after it, in place of the former listener, if this is a function."""
        if not callable(listener):
            return
        self._listeners[kind] = listener
        for socket in self.sockets:
            if socket.has_global_listeners:
                socket.listen_globally(kind, listener)

    def _attach(self) -> None:
        """Attach the global listeners to the earliest socket that ``closeSocket`` has not closed.

        They stay attached to each until its close has been delivered.
        """
        for socket in self.sockets:
            if not socket.member.let_go:
                if not socket.has_global_listeners:
                    socket.attach(self._listeners)
                return
