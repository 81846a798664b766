"""A function of the program that is to be called, and what becomes of its exceptions."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable
from contextlib import suppress
from typing import final

import attrs

from ._arguments import Callback
from ._outcome import Outcome
from ._values import AnyResult

_logger = logging.getLogger("trio_socket_task.miniprogram")


@final
@attrs.frozen
class PendingCallback:
    """A function of the program, and its argument. What it raises is logged, unless it ends the program."""

    function: Callback
    result: AnyResult

    def call(self) -> Awaitable[object] | None:
        """Call the function; return what is to be awaited, if it is async."""
        try:
            returned = self.function(self.result)
            # An Outcome is what `lambda res: task.send(...)` returns without meaning to wait for it.
            return returned if inspect.isawaitable(returned) and not isinstance(returned, Outcome) else None
        except Exception as error:  # noqa: BLE001 (it is the program's, and is logged)
            self._log(error)
            return None

    async def wait(self, awaitable: Awaitable[object]) -> None:
        """Wait for what `call` has returned."""
        try:
            await awaitable
        except Exception as error:  # noqa: BLE001 (as above)
            self._log(error)
        except BaseExceptionGroup as group:  # the program is being cancelled, and a part of it objects
            failures, others = group.split(Exception)
            self._log(failures or group)
            raise others or group from None

    def _log(self, error: BaseException) -> None:
        name = type(self.function).__qualname__
        with suppress(Exception):  # whatever somebody's object raises when it is asked for its name
            name = self.function.__qualname__
        _logger.error("%s raised; the program goes on", name, exc_info=error)
