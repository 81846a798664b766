"""What a resilient socket was asked to do, checked before any I/O."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import final

import attrs
import trio

from trio_socket_task._errors import ConnectTimeoutError, InvalidOptionsError
from trio_socket_task._functions import call_async
from trio_socket_task._manager import ANY_ADDRESS, SocketManager, members_of
from trio_socket_task._options import ConnectOptions, Heartbeat, check_options, with_defaults
from trio_socket_task._socket_task import SocketTask
from trio_socket_task._url import check_url

from ._backoff import Backoff
from ._outbox import Outbox
from ._retry import Retry

Target = str | Callable[[], Awaitable[str | tuple[str, ConnectOptions]]]
"""Where a resilient socket goes: a URL, or an async function that is asked before each attempt.

The function gives the URL, or the URL and options for this attempt, within the ``timeout`` of an opening."""
OnConnected = Callable[[SocketTask], Awaitable[object]]
"""What is run with each new connection before anything else is sent or received on it."""


@final
@attrs.frozen(kw_only=True)
class Settings:
    """What was asked for."""

    target: Target
    backoff: Backoff
    retry: Retry
    outbox: Outbox | None
    on_connected: OnConnected | None
    manager: SocketManager | None
    options: ConnectOptions
    receive_buffer: int = 0
    timeout: float = 0.0

    @property
    def url(self) -> str:
        """Where it goes, as far as that is known before the target is asked."""
        return self.target if isinstance(self.target, str) else "what its target gives"

    async def resolve_target(self, previous_url: str) -> tuple[str, ConnectOptions]:
        """Return the URL and the options of the next attempt.

        Raises:
            InvalidOptionsError: The target is no async function, or gives neither a URL nor a URL and options.
            ConnectTimeoutError: The target took longer than the opening may.
        """
        if isinstance(self.target, str):
            return self.target, self.options
        with trio.move_on_after(self.timeout):
            url, options = _check_answer(await call_async("target", self.target))
            return url, with_defaults(self.options, options)
        raise ConnectTimeoutError(previous_url, self.timeout, "waiting for the target function to return")


def _check_answer(answer: str | tuple[str, ConnectOptions]) -> tuple[str, ConnectOptions]:
    """Return what a target gives, once it is checked."""
    match answer:
        case str():
            return answer, ConnectOptions()
        case (str(), Mapping()):
            for name in answer[1]:
                if name not in ConnectOptions.__annotations__:
                    known = ", ".join(ConnectOptions.__annotations__)
                    raise InvalidOptionsError("target", name, f"must give no options but {known}")
            return answer
    raise InvalidOptionsError("target", answer, "must give a URL, or a tuple of a URL and ConnectOptions")


def check_settings(settings: Settings) -> Settings:
    """Check what `open_resilient_socket` was given, and return it with a heartbeat where the options do not say.

    Raises:
        InvalidOptionsError: An argument breaks its rule.
        TypeError: A keyword is unknown.
    """
    address = check_url(settings.target) if isinstance(settings.target, str) else ANY_ADDRESS
    if not isinstance(settings.target, str) and not callable(settings.target):
        raise InvalidOptionsError("target", settings.target, "must be a URL or an async function that gives one")
    for argument, value, kind in (
        ("backoff", settings.backoff, Backoff),
        ("retry", settings.retry, Retry),
        ("outbox", settings.outbox, Outbox | None),
        ("manager", settings.manager, SocketManager | None),
    ):
        if not isinstance(value, kind):
            raise InvalidOptionsError(argument, value, f"must be of the type {getattr(kind, '__name__', kind)}")
    if settings.on_connected is not None and not callable(settings.on_connected):
        raise InvalidOptionsError("on_connected", settings.on_connected, "must be an async function of a SocketTask")
    manager, options = settings.manager, settings.options
    given = options if manager is None else members_of(manager).complete(address, options)
    if "heartbeat" not in given:
        options = ConnectOptions(heartbeat=Heartbeat(), **options)
    checked = check_options(address, given)
    return attrs.evolve(settings, options=options, receive_buffer=checked.receive_buffer, timeout=checked.timeout)
