"""How the log names a resilient socket."""

from __future__ import annotations

from itertools import count
from typing import final

import attrs

from trio_socket_task._text import mask_url

_numbers = count(1)


@final
@attrs.define(eq=False)
class SocketLabel:
    """The number of a resilient socket in this process, and the URL of its latest attempt."""

    url: str
    number: int = attrs.field(init=False, factory=lambda: next(_numbers))

    def __str__(self) -> str:
        return f"resilient socket {self.number} ({mask_url(self.url)})"
