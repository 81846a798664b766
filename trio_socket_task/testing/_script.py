"""A server's side of a conversation, told as a story."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Self, final

import attrs
import trio

from ._connection import ServerConnection, check_seconds
from ._misuse import MisuseError, ScriptError

Expected = str | bytes | re.Pattern[str] | re.Pattern[bytes] | Callable[[str | bytes], bool]
"""A message, a pattern that the whole of one matches, or a function that says whether it will do."""

_Act = Callable[[ServerConnection], Awaitable[object]]


@final
class _DeviationError(Exception):
    """What came is not what was expected."""

    def __init__(self, expected: str, came: str) -> None:
        super().__init__(expected, came)
        self.expected = expected
        self.came = came


@final
@attrs.frozen
class _Step:
    words: str
    act: _Act


@final
class Script:
    """What a server does, step by step: ``Script().expect("hello").send("hi").sleep(30).drop()``.

    It is a handler: each connection plays it from the start. After the last step the connection stays open until the
    client closes it, and nothing more is expected of the client. A client that says something else fails the test
    with the story so far and the difference; so does a script that nobody played to its end.
    """

    def __init__(self) -> None:
        self._steps: list[_Step] = []
        self._played = False
        self._last: str | None = None  # the step that ends the connection

    def __repr__(self) -> str:
        return f"<Script of {len(self._steps)} steps>"

    # The steps

    def accept(self, protocol: str | None = None, header: Mapping[str, str] | None = None) -> Self:
        """Accept the handshake; without this step, the first one that needs it does."""
        return self._add(f"accept protocol {protocol!r}", lambda connection: connection.accept(protocol, header))

    def reject(self, status: int, header: Mapping[str, str] | None = None, body: bytes = b"") -> Self:
        """Refuse the handshake with an HTTP status."""
        return self._add(f"reject with {status}", lambda connection: connection.reject(status, header, body), ends=True)

    def expect(self, data: Expected, *, within: float = 60.0) -> Self:
        """Wait for a message of the client, at most so many seconds, and compare it."""
        if not isinstance(data, str | bytes | re.Pattern) and not callable(data):
            raise MisuseError(f"expect() takes str, bytes, a pattern or a function, not {data!r}")
        if inspect.iscoroutinefunction(data):
            raise MisuseError(f"expect() takes a plain function, and {data!r} is async")
        return self._add(f"expect {_words(data)}", partial(_expect, expected=data, within=within))

    def expect_close(self, code: int = 1000, reason: str | None = None, *, within: float = 60.0) -> Self:
        """Wait for the client to close, at most so many seconds: with this code, and this reason where one is given."""
        return self._add(_close_words(code, reason), partial(_expect_close, code=code, reason=reason, within=within))

    def send(self, data: str | bytes) -> Self:
        """Send a message."""
        return self._add(f"send {data!r}", lambda connection: connection.send(data))

    def send_raw(self, data: bytes) -> Self:
        """Send bytes as they are."""
        return self._add(f"send raw {data!r}", lambda connection: connection.send_raw(data))

    def close(self, code: int = 1000, reason: str = "") -> Self:
        """Close the connection."""
        return self._add(f"close with {code} {reason!r}", partial(_close, code=code, reason=reason), ends=True)

    def sleep(self, seconds: float) -> Self:
        """Let time pass after the handshake: virtual under a test's clock. `delay` slows the handshake."""
        return self._add(f"sleep {check_seconds('sleep', seconds):g} s", partial(_sleep, seconds))

    def stall(self, *, reading: bool = True, answering: bool = True) -> Self:
        """Stop reading, or answering, or both."""
        return self._fault("stall", lambda connection: connection.stall(reading=reading, answering=answering))

    def resume(self) -> Self:
        """End a stall."""
        return self._add("resume", ServerConnection.resume)

    def delay(self, seconds: float) -> Self:
        """Let everything that is sent from here on wait first; for a handshake that never ends, `stall`."""
        return self._fault(f"delay {check_seconds('delay', seconds):g} s", lambda connection: connection.delay(seconds))

    def never_answer_close(self) -> Self:
        """Answer no Close frame."""
        return self._fault("never answer close", ServerConnection.never_answer_close)

    def garble(self) -> Self:
        """Break the protocol from here on."""
        return self._fault("garble", ServerConnection.garble)

    def drop(self) -> Self:
        """Reset the connection."""
        return self._add("drop", partial(_while_there, ServerConnection.drop), ends=True)

    def half_close(self) -> Self:
        """End the direction to the client."""
        return self._add("half-close", partial(_while_there, ServerConnection.half_close))

    def _add(self, words: str, act: _Act, *, ends: bool = False) -> Self:
        if self._played:
            raise MisuseError(f"this script is being played; add {words!r} before the first connection comes")
        if self._last is not None:
            raise MisuseError(f"{self._last!r} ends the connection; {words!r} cannot follow it")
        self._steps.append(_Step(words, act))
        if ends:
            self._last = words
        return self

    def _fault(self, words: str, set_fault: Callable[[ServerConnection], None]) -> Self:
        async def act(connection: ServerConnection) -> None:
            set_fault(connection)

        return self._add(words, partial(_while_there, act))

    # Playing

    async def __call__(self, connection: ServerConnection) -> None:
        """Play it on one connection, until it ends or is cancelled."""
        self._played = True
        for number, step in enumerate(self._steps):
            try:
                await step.act(connection)
            except _DeviationError as deviation:
                raise ScriptError(self._tell(number, deviation.expected, deviation.came)) from None
            except (trio.EndOfChannel, trio.BrokenResourceError):
                raise ScriptError(self._tell(number, step.words, _departure(connection))) from None
            except trio.Cancelled:
                connection._unfinished = ScriptError(self._tell_unfinished(number))
                raise
        await self._see_out(connection)

    async def _see_out(self, connection: ServerConnection) -> None:
        """Keep the connection until the client goes; it is expected to say nothing more."""
        await connection._begin()
        if connection._accepted is None or connection.closed:
            return
        if not connection._line.reads:  # what a stalled server does not see is not judged when the block ends the stall
            await connection._line.ended.wait()
            return
        async for data in connection:
            raise ScriptError(self._tell(len(self._steps), "nothing more", f"{data!r}"))

    def begin(self) -> None:
        """Forget earlier plays."""
        self._played = False

    def check(self) -> None:
        """Raise if it was not played since.

        Raises:
            ScriptError: It was not.
        """
        if not self._played:
            raise ScriptError(f"no connection came to play this script:\n{self._story(-1)}\nlet the program connect")

    def _tell_unfinished(self, number: int) -> str:
        return (
            f"the test ended before the script did, at step {number + 1} of {len(self._steps)}:\n"
            f"{self._story(number)}\nlet the test wait for what follows, or take the rest out of the script"
        )

    def _tell(self, number: int, expected: str, came: str) -> str:
        difference = "\n".join(line.rstrip("\n") for line in difflib.ndiff([expected], [came]))
        where = "after its end" if number == len(self._steps) else f"at step {number + 1} of {len(self._steps)}"
        return (
            f"the client did not follow the script {where}:\n"
            f"{self._story(number)}\nexpected (-) and what came (+):\n{difference}"
        )

    def _story(self, current: int) -> str:
        steps: Sequence[str] = [step.words for step in self._steps]
        if current == len(steps):
            steps = [*steps, "(the end)"]
        return "\n".join(
            f"{'>' if number == current else ' '} {number + 1:3}. {words}" for number, words in enumerate(steps)
        )


def _words(data: Expected) -> str:
    if isinstance(data, re.Pattern):
        return f"text like {data.pattern!r}"
    return f"a message that {getattr(data, '__name__', 'a function')} accepts" if callable(data) else f"{data!r}"


def _close_words(code: int, reason: str | None) -> str:
    return f"the client closes with {code}" + ("" if reason is None else f" {reason!r}")


async def _while_there(act: _Act, connection: ServerConnection) -> None:
    """Do something to a client that has not left by itself."""
    if connection.closed:
        connection._note_close()
        raise trio.BrokenResourceError
    await act(connection)


async def _close(connection: ServerConnection, code: int, reason: str) -> None:
    await _while_there(lambda _: connection.close(code, reason), connection)


async def _sleep(seconds: float, connection: ServerConnection) -> None:
    await connection._begin()
    await trio.sleep(seconds)


async def _expect(connection: ServerConnection, expected: Expected, within: float) -> None:
    with _patience(_words(expected), within):
        came = await connection.receive()
    if isinstance(expected, re.Pattern):
        good = type(came) is type(expected.pattern) and expected.fullmatch(came) is not None  # type: ignore[arg-type]
    else:
        good = _accepts(expected, came) if callable(expected) else expected == came
    if not good:
        raise _DeviationError(_words(expected), f"{came!r}")


def _accepts(function: Callable[[str | bytes], bool], came: str | bytes) -> bool:
    answer: object = function(came)
    if inspect.isawaitable(answer):
        if inspect.iscoroutine(answer):
            answer.close()
        raise MisuseError(f"expect() takes a plain function, and {function!r} is async")
    return bool(answer)


async def _expect_close(connection: ServerConnection, code: int, reason: str | None, within: float) -> None:
    words = _close_words(code, reason)
    with _patience(words, within):
        async for data in connection:
            raise _DeviationError(words, f"{data!r}")
    if connection.close_code != code or reason not in (None, connection.close_reason):
        raise _DeviationError(words, _departure(connection))


@contextmanager
def _patience(words: str, seconds: float) -> Iterator[None]:
    with trio.move_on_after(seconds) as scope:
        yield
    if scope.cancelled_caught:
        raise _DeviationError(words, f"nothing within {seconds:g} s; pass within= if it may take longer")


def _departure(connection: ServerConnection) -> str:
    if connection.close_code is None:
        return "the client went away without a Close frame"
    return _close_words(connection.close_code, connection.close_reason)
