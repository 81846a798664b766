"""What the decoder finds: messages, control frames, and how the peer broke the protocol."""

from __future__ import annotations

from typing import final

import attrs

from trio_socket_task._events import CloseCode

Message = tuple[str | bytes, int]
"""A message, and how many bytes its payload has, inflated."""


@final
@attrs.frozen
class Ping:
    """A Ping frame (section 5.5.2)."""

    payload: bytes


@final
@attrs.frozen
class Pong:
    """A Pong frame (section 5.5.3)."""

    payload: bytes


@final
@attrs.frozen
class Close:
    """A Close frame (section 5.5.1); a code of None means that it had none."""

    code: int | None
    reason: str


@final
@attrs.frozen
class Violation:
    """The peer broke the protocol."""

    code: CloseCode
    """What to close the connection with (section 7.4.1)."""
    why: str
    """What it did."""


Control = Ping | Pong | Close | Violation
"""What is not a message. After a Close frame or a violation nothing comes."""
