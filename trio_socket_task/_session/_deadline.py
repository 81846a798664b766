"""How long what is under way may take: the opening, then the connection, then the close of its stream."""

from __future__ import annotations

from typing import final

import trio

_NEVER = float("inf")


@final
class Deadline:
    """The cancel scope of the present stage of a session; each stage is shielded, and takes over what it must."""

    __slots__ = ("scope",)

    def __init__(self) -> None:
        self.scope: trio.CancelScope = trio.CancelScope(shield=True)
        """That of the present stage."""

    def enter(self, scope: trio.CancelScope) -> None:
        """Begin a stage with a scope of its own."""
        scope.shield = True
        self.scope = scope

    def limit(self, seconds: float) -> None:
        """Allow what is left so many seconds at most."""
        deadline = trio.current_time() + seconds
        if deadline < self.scope.deadline:  # noqa: PLR1730 (to set one costs five times as much as to look)
            self.scope.deadline = deadline

    def expire(self) -> None:
        """Allow what is left no time."""
        self.scope.deadline = -_NEVER  # which the scope of the next stage takes over
        self.scope.cancel()

    @property
    def is_expired(self) -> bool:
        """Whether no time is left because somebody said so, and not because it is over."""
        return self.scope.deadline == -_NEVER
