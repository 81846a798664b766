"""What an opening is waiting for, so that the error of a time-out can say it; and the log of a connection's life."""

from __future__ import annotations

import logging
from functools import partial
from itertools import count
from typing import final

import attrs
import trio

from trio_socket_task._log import SafeLogger

_logger = SafeLogger("trio_socket_task")
_numbers = count(1)
LAST_WORDS_SECONDS = 1.0
"""Seconds for what was said before writing failed: it comes soon, if at all."""


def within_deadline(seconds: float) -> float:
    """Return so many seconds, or half of those that the opening has left; none where it was called off meanwhile."""
    return max(0, min(seconds, (trio.current_effective_deadline() - trio.current_time()) / 2))


@final
@attrs.define(eq=False)
class Progress:
    """How far an opening has come; the phases follow one another."""

    peer: str
    """The host and the port that it goes to."""
    phase: str = ""
    """What is waited for, in words; empty before it begins."""
    number: int = attrs.field(factory=partial(next, _numbers))
    """The socket's number in the log: the first of the process has 1."""
    is_logged: bool = attrs.field(factory=partial(_logger.isEnabledFor, logging.DEBUG))
    """Whether somebody listens to the log, which is asked once."""
    _began: float = attrs.field(factory=trio.current_time)

    def log(self, what: str, *values: object) -> None:
        """Log a step and the milliseconds since the beginning."""
        elapsed = (trio.current_time() - self._began) * 1000
        _logger.debug(f"#%d %.1f ms: {what}", self.number, elapsed, *values)  # noqa: G004 (what is no value)

    def connects(self, *, by_dial: bool) -> None:
        """Note that name resolution and TCP are under way, or whatever `dial` does."""
        self.phase = f"{'dial connected' if by_dial else 'connecting'} to {self.peer}"

    def secures(self) -> None:
        """Note that the TLS handshake is under way."""
        self.phase = f"waiting for {self.peer} to finish the TLS handshake"

    def requests(self) -> None:
        """Note that the request is being written, and nothing of its response has come."""
        self.phase = f"waiting for {self.peer} to answer the opening handshake, of which nothing has come"

    def responds(self) -> None:
        """Note that the response has begun."""
        self.phase = f"waiting for the rest of the response of {self.peer}"

    def connects_to_proxy(self, proxy: str) -> None:
        """Note that the proxy's name resolution and TCP are under way."""
        self.phase = f"connecting to the proxy {proxy}"

    def secures_proxy(self, proxy: str) -> None:
        """Note that the TLS handshake with the proxy is under way."""
        self.phase = f"waiting for the proxy {proxy} to finish the TLS handshake"

    def passes_proxy(self, proxy: str) -> None:
        """Note that the proxy was asked to connect to the server."""
        self.phase = f"waiting for the proxy {proxy} to connect to {self.peer}"

    def proxy_responds(self, proxy: str) -> None:
        """Note that the proxy's response has begun."""
        self.phase = f"waiting for the rest of the response of the proxy {proxy}"
