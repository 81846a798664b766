"""The thread that a socket belongs to."""

from __future__ import annotations

from threading import get_ident
from typing import final


@final
class HomeThread:
    """The thread of the Trio run in which something was made; its plain functions may be called there only."""

    __slots__ = ("_ident",)

    def __init__(self) -> None:
        self._ident = get_ident()

    def check(self) -> None:
        """Raise where this is another thread, in which Trio would miss what is done.

        Raises:
            RuntimeError: It is another thread.
        """
        if get_ident() != self._ident:
            raise RuntimeError(
                "this was called from another thread than that of its Trio run; call it there, as in "
                "trio.from_thread.run_sync(task.send_nowait, data), or by token.run_sync_soon(task.close)"
            )
