"""What several files of tests share."""

from __future__ import annotations

from trio_socket_task import Backoff, ConnectionState, ResilientSocket

HALF = Backoff(random=lambda: 0.5)
"""Delays of 0.5, 1, 2, 4 ... seconds."""


async def until(socket: ResilientSocket, state: ConnectionState) -> None:
    """Wait for a state; one that it is in counts."""
    async with socket.on_state() as events:
        async for event in events:
            if event.state is state:
                return
