"""Every exception.

    SocketTaskError                     catch-all; never raised itself
    ├── InvalidOptionsError             refused before any I/O; also a ValueError
    ├── SocketLimitError                the policy admits no more sockets
    ├── ConnectError                    the socket never opened; __cause__ is the OS or TLS error
    │   ├── ConnectTimeoutError         not open within `timeout`
    │   ├── ProxyError                  the proxy cannot be reached, is not trusted, or refused
    │   └── HandshakeError              the server answered, but not with a valid 101
    ├── SocketNotOpenError              the socket is still connecting, or there is none
    ├── SocketClosedError               this side closed it; also a trio.ClosedResourceError
    ├── SocketLostError                 the peer closed it, broke the protocol, or it dropped;
    │                                   also a trio.BrokenResourceError
    ├── OutboxFullError                 the outbox of a resilient socket is full; also a trio.WouldBlock
    └── GaveUpError                     a resilient socket connects no more; also a trio.BrokenResourceError

An exception keeps its positional fields and forms its sentence in `__str__`, so it survives pickling and copying.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

import trio

from ._events import Attempt, CloseCode, CloseEvent, Header, as_header
from ._text import mask_url, quoted, shown_value


class SocketTaskError(Exception):
    """Catch-all for every error of this package; never raised itself."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"  # not its fields, which may hold secrets


@final
class InvalidOptionsError(SocketTaskError, ValueError):
    """An argument was refused before any I/O; the socket, if there is one, is unharmed."""

    def __init__(self, argument: str, value: object, rule: str) -> None:
        super().__init__(argument, value, rule)
        self.argument = argument
        """The name of the argument."""
        self.value = value
        """What was given, whole; the sentence and the repr do not quote what may be a secret."""
        self.rule = rule
        """What it must be."""

    def __str__(self) -> str:
        return f"{self.argument} {self.rule}, not {shown_value(self.argument, self.value)}"


@final
class SocketLimitError(SocketTaskError):
    """The policy admits no more sockets; nothing was dialled."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit
        """How many sockets may coexist."""

    def __str__(self) -> str:
        return (
            f"{self.limit} sockets exist and the policy admits no more; close one first, or open a manager with "
            "another policy, as in `async with open_socket_manager(Coexist(20)) as manager`, and pass it as "
            "`connect_socket(url, manager=manager)`"
        )


class ConnectError(SocketTaskError):
    """The socket never opened; ``__cause__`` is the OS or TLS error, where there was one."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(url, why)
        self.url = url
        """The URL that was asked for."""
        self.why = why
        """What happened, in words."""

    def __str__(self) -> str:
        return f"cannot connect to {mask_url(self.url)}: {quoted(self.why)}"


@final
class ConnectTimeoutError(ConnectError):
    """The socket was not open within its `timeout`."""

    def __init__(self, url: str, timeout: float, phase: str = "") -> None:
        waiting = f", {phase}" if phase else ""
        why = f"not open within {timeout:g} seconds{waiting}; pass a longer timeout= if the server needs it"
        super().__init__(url, why)
        self.timeout = timeout
        """Seconds that the opening was allowed."""
        self.phase = phase
        """What it was waiting for, and of whom, in words: the connection, the TLS handshake, or the response."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.url, self.timeout, self.phase), vars(self)


@final
class ProxyError(ConnectError):
    """The proxy cannot be reached, is not trusted, or did not let the connection through to the server."""

    def __init__(
        self,
        url: str,
        why: str,
        status_code: int | None = None,
        header: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(url, why)
        self.status_code = status_code
        """The HTTP status of its refusal, such as 407 where it wants to know who asks; None where it gave none, and of
        a SOCKS proxy, whose reply is in `why`, in words."""
        self.header: Header = as_header({} if header is None else header)
        """The fields of its response."""
        self.body = body
        """The body of its response as far as it was read, at most 64 KiB."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.url, self.why, self.status_code, self.header, self.body), vars(self)


@final
class HandshakeError(ConnectError):
    """The server answered the opening handshake, but not with a valid 101 response (RFC 6455 section 4.1)."""

    def __init__(
        self,
        url: str,
        why: str,
        status_code: int | None = None,
        header: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        super().__init__(url, why)
        self.status_code = status_code
        """The HTTP status, or None when no valid HTTP response came."""
        self.header: Header = as_header({} if header is None else header)
        """The fields of the response."""
        self.body = body
        """The body of the response as far as it was read, at most 64 KiB."""

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.url, self.why, self.status_code, self.header, self.body), vars(self)


@final
class SocketNotOpenError(SocketTaskError):
    """The socket is still connecting, or a global function finds no socket at all."""

    def __init__(self, url: str | None) -> None:
        super().__init__(url)
        self.url = url
        """The socket's URL; None when there is no socket."""

    def __str__(self) -> str:
        if self.url is None:
            return "there is no socket to act on; call connect_socket first"
        hint = "`await task.wait_open()`, or `socket.wait_connected()`, first"
        return f"the socket to {mask_url(self.url)} is not open; {hint}"


def _code_words(code: int) -> str:
    try:
        return f"{code} ({CloseCode(code).name.replace('_', ' ').lower()})"
    except ValueError:
        return str(code)


@final
class SocketClosedError(SocketTaskError, trio.ClosedResourceError):
    """This side closed the socket."""

    def __init__(self, close_event: CloseEvent) -> None:
        super().__init__(close_event)
        self.close_event = close_event
        """How it closed, or is closing."""

    def __str__(self) -> str:
        return f"this side closed the socket with {_code_words(self.close_event.code)}; connect a new one"


@final
class SocketLostError(SocketTaskError, trio.BrokenResourceError):
    """The peer closed the socket, broke the protocol, or the connection dropped."""

    def __init__(self, close_event: CloseEvent, why: str = "") -> None:
        super().__init__(close_event, why)
        self.close_event = close_event
        """How it closed, or is closing."""
        self.why = why
        """What happened, in words; empty when the peer closed it by a Close frame."""

    def __str__(self) -> str:
        if self.why:
            return f"the connection was lost: {quoted(self.why)}"
        reason = f": {quoted(self.close_event.reason)}" if self.close_event.reason else ""
        return f"the peer closed the socket with {_code_words(self.close_event.code)}{reason}"


@final
class OutboxFullError(SocketTaskError, trio.WouldBlock):
    """The outbox of a resilient socket is full; the message was not taken."""

    def __init__(self, messages: int, size: int) -> None:
        super().__init__(messages, size)
        self.messages = messages
        """How many messages the outbox holds."""
        self.size = size
        """How many bytes they have."""

    def __str__(self) -> str:
        return (
            f"the outbox is full with {self.messages} messages of {self.size} bytes; wait with `await "
            'socket.wait_delivered()`, or choose when_full="wait" or "drop_oldest", or larger limits'
        )


@final
class GaveUpError(SocketTaskError, trio.BrokenResourceError):
    """A resilient socket connects no more; ``__cause__`` is the error of its last attempt, where there was one."""

    def __init__(self, why: str, attempts: Sequence[Attempt] = ()) -> None:
        super().__init__(why, attempts)
        self.why = why
        """What made it give up, in words."""
        self.attempts = attempts
        """Its attempts since it was last connected for a useful time, at most the latest hundred."""

    def __str__(self) -> str:
        return f"gave up connecting: {quoted(self.why)}"
