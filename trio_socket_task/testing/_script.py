"""A server's side of a conversation, step by step."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self, final

import trio

from ._checks import (
    check_close,
    check_expected_close,
    check_message,
    check_protocol,
    check_raw,
    check_refusal,
    check_seconds,
    check_within,
    encode_fields,
    shown,
)
from ._connection import ServerConnection
from ._misuse import MisuseError, ScriptError
from ._steps import (
    Action,
    DeviationError,
    Expected,
    Step,
    close_connection,
    describe_close,
    describe_departure,
    describe_expected,
    expect_close,
    expect_message,
    sleep_connected,
    unless_gone,
)


@final
class Script:
    """What a server does, step by step: ``Script().expect("hello").send("hi").sleep(30).drop()``.

    It is a handler: each connection plays it from the start. After the last step the connection stays open until the
    client closes it, and nothing more is expected of the client. A client that says something else fails the test
    with the steps so far and the difference; so does a script that nobody played to its end.
    """

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._played = False
        self._answer: str | None = None  # the step that answers the handshake, if only because it needs that
        self._last: str | None = None  # the step that ends the connection

    def __repr__(self) -> str:
        return f"<Script of {len(self._steps)} steps>"

    # The steps

    def accept(self, protocol: str | None = None, header: Mapping[str, str] | None = None) -> Self:
        """Accept the handshake; without this step, the first one that needs it does."""
        if protocol is not None:
            check_protocol(protocol)
        encode_fields(header)
        text = f"accept protocol {shown(protocol)}"
        self._check_unanswered(text)
        return self._add(text, lambda connection: connection.accept(protocol, header), answers=True)

    def reject(self, status: int, header: Mapping[str, str] | None = None, body: bytes = b"") -> Self:
        """Refuse the handshake with an HTTP status."""
        check_refusal(status, body)
        encode_fields(header)
        text = f"reject with {status:d}"
        self._check_unanswered(text)
        return self._add(text, lambda connection: connection.reject(status, header, body), ends=True)

    def expect(self, data: Expected, *, within: float = 60.0) -> Self:
        """Wait for a message of the client, at most so many seconds, and compare it."""
        if not isinstance(data, str | bytes | re.Pattern) and not callable(data):
            raise MisuseError(f"expect() takes str, bytes, a pattern or a function, not {shown(data)}")
        if inspect.iscoroutinefunction(data):
            raise MisuseError(f"expect() takes a plain function, and {shown(data)} is async")
        check_within("expect", within)
        act = partial(expect_message, expected=data, within=within)
        return self._add(f"expect {describe_expected(data)}", act, answers=True)

    def expect_close(self, code: int = 1000, reason: str | None = None, *, within: float = 60.0) -> Self:
        """Wait for the client to close, at most so many seconds: with this code, and this reason where one is given."""
        check_expected_close(code, reason)
        check_within("expect_close", within)
        act = partial(expect_close, code=code, reason=reason, within=within)
        return self._add(describe_close(code, reason), act, answers=True)

    def send(self, data: str | bytes) -> Self:
        """Send a message."""
        check_message(data)
        return self._add(f"send {shown(data)}", lambda connection: connection.send(data), answers=True)

    def send_raw(self, data: bytes) -> Self:
        """Send bytes as they are."""
        check_raw(data)
        return self._add(f"send raw {shown(data)}", lambda connection: connection.send_raw(data))

    def close(self, code: int = 1000, reason: str = "") -> Self:
        """Close the connection."""
        check_close(code, reason)
        return self._add(
            f"close with {code:d} {shown(reason)}", partial(close_connection, code=code, reason=reason), ends=True
        )

    def sleep(self, seconds: float) -> Self:
        """Wait after the handshake, in virtual time under a test's clock. `delay` slows the handshake."""
        text = f"sleep {check_seconds('sleep', seconds):g} s"
        is_first = not self._steps  # after a fault, it may leave the handshake open
        return self._add(text, partial(sleep_connected, seconds), answers=is_first)

    def stall(self, *, reading: bool = True, answering: bool = True) -> Self:
        """Stop reading, or answering, or both."""
        return self._fault("stall", lambda connection: connection.stall(reading=reading, answering=answering))

    def resume(self) -> Self:
        """End a stall."""
        return self._add("resume", ServerConnection.resume)

    def delay(self, seconds: float) -> Self:
        """Delay everything that is sent from here on; for a handshake that never ends, `stall`."""
        return self._fault(f"delay {check_seconds('delay', seconds):g} s", lambda connection: connection.delay(seconds))

    def never_answer_close(self) -> Self:
        """Answer no Close frame."""
        return self._fault("never answer close", ServerConnection.never_answer_close)

    def garble(self) -> Self:
        """Break the protocol from here on."""
        return self._fault("garble", ServerConnection.garble)

    def drop(self) -> Self:
        """Reset the connection."""
        return self._add("drop", partial(unless_gone, ServerConnection.drop), ends=True)

    def half_close(self) -> Self:
        """End the direction to the client."""
        return self._add("half-close", partial(unless_gone, ServerConnection.half_close))

    def _check_unanswered(self, text: str) -> None:
        if self._answer is not None:
            raise MisuseError(f"{self._answer!r} answers the handshake; {text!r} cannot follow it")

    def _add(self, text: str, act: Action, *, answers: bool = False, ends: bool = False) -> Self:
        if self._played:
            raise MisuseError(f"this script is being played; add {text!r} before the first connection comes")
        if self._last is not None:
            raise MisuseError(f"{self._last!r} ends the connection; {text!r} cannot follow it")
        self._steps.append(Step(text, act))
        if answers and self._answer is None:
            self._answer = text
        if ends:
            self._last = text
        return self

    def _fault(self, text: str, set_fault: Callable[[ServerConnection], None]) -> Self:
        async def act(connection: ServerConnection) -> None:
            set_fault(connection)

        return self._add(text, partial(unless_gone, act))

    # Playing

    async def __call__(self, connection: ServerConnection) -> None:
        """Play it on one connection, until it ends or is cancelled."""
        self._played = True
        for number, step in enumerate(self._steps):
            try:
                await step.act(connection)
            except DeviationError as deviation:
                raise ScriptError(self._report(number, deviation.expected, deviation.came)) from None
            except (trio.EndOfChannel, trio.BrokenResourceError):
                raise ScriptError(self._report(number, step.text, describe_departure(connection))) from None
            except trio.Cancelled:
                connection.session.unfinished = ScriptError(self._report_unfinished(number))
                raise
        await self._wait_for_client(connection)

    async def _wait_for_client(self, connection: ServerConnection) -> None:
        """Keep the connection until the client goes; it is expected to say nothing more."""
        session = connection.session
        await session.ensure_answered()
        if session.connection is None or connection.closed:
            return
        if not session.stream.reads:  # what a stalled server does not see is not judged when the block ends the stall
            await session.stream.ended.wait()
            return
        async for data in connection:
            raise ScriptError(self._report(len(self._steps), "nothing more", f"{data!r}"))

    def begin(self) -> None:
        """Forget earlier plays."""
        self._played = False

    def check(self) -> None:
        """Raise if it was not played since.

        Raises:
            ScriptError: It was not.
        """
        if not self._played:
            raise ScriptError(
                f"no connection came to play this script:\n{self._list_steps(-1)}\nlet the program connect"
            )

    def _report_unfinished(self, number: int) -> str:
        return (
            f"the test ended before the script did, at step {number + 1} of {len(self._steps)}:\n"
            f"{self._list_steps(number)}\nlet the test wait for what follows, or take the rest out of the script"
        )

    def _report(self, number: int, expected: str, came: str) -> str:
        difference = "\n".join(line.rstrip("\n") for line in difflib.ndiff([expected], [came]))
        where = "after its end" if number == len(self._steps) else f"at step {number + 1} of {len(self._steps)}"
        return (
            f"the client did not follow the script {where}:\n"
            f"{self._list_steps(number)}\nexpected (-) and what came (+):\n{difference}"
        )

    def _list_steps(self, current: int) -> str:
        steps: Sequence[str] = [step.text for step in self._steps]
        if current == len(steps):
            steps = [*steps, "(the end)"]
        return "\n".join(
            f"{'>' if number == current else ' '} {number + 1:3}. {text}" for number, text in enumerate(steps)
        )
