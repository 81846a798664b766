"""Scripts: every step, and what they say when the client does something else."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
import trio
import trio.testing

from trio_socket_task import HandshakeError, SocketLostError, SocketTask, connect_socket
from trio_socket_task._socket_task import session_of
from trio_socket_task.testing import MisuseError, Script, ScriptError, open_memory_server

Client = Callable[[SocketTask], Awaitable[object]]


class Unprintable(int):
    """A number of a program's own that cannot be written."""

    def __repr__(self) -> str:
        raise RuntimeError


class UnprintableTime(float):
    """The same, of seconds."""

    def __repr__(self) -> str:
        raise RuntimeError


async def play(script: Script, client: Client) -> None:
    """Play a script to a client."""
    async with open_memory_server(script) as server, connect_socket(server.url, dial=server.dial) as task:
        await client(task)


async def nothing(_task: SocketTask) -> None:
    """Say nothing."""
    await trio.lowlevel.checkpoint()


async def failure(script: Script, client: Client) -> str:
    """Return what the script says of the client."""
    with pytest.raises(ScriptError) as caught:
        await play(script, client)
    return str(caught.value)


async def test_a_whole_story(autojump_clock: trio.testing.MockClock) -> None:
    """It reads as it goes."""
    script = (
        Script()
        .accept(header={"X-Story": "once"})
        .expect(re.compile(r"login \w+"))
        .send("welcome")
        .expect(b"\x01\x02")
        .expect(lambda data: "hello" in str(data))
        .send_raw(b"\x82\x01\x03")
        .sleep(3600)
        .close(4000, "enough")
    )
    assert repr(script) == "<Script of 8 steps>"
    with trio.fail_after(7200):
        async with open_memory_server(script) as server, connect_socket(server.url, dial=server.dial) as task:
            task_closed = task.on_close()
            await task.send("login ada")
            assert await task.receive() == "welcome"
            await task.send(b"\x01\x02")
            await task.send("say hello")
            assert await task.receive() == b"\x03"
            assert (await task_closed.receive()).reason == "enough"


async def test_expecting_a_close(autojump_clock: trio.testing.MockClock) -> None:
    """With its code, and a reason where one is given."""
    await play(Script().expect_close(), nothing)
    await play(Script().expect_close(3001, "so long"), lambda task: task.aclose(3001, "so long"))


async def test_faults_are_steps(autojump_clock: trio.testing.MockClock) -> None:
    """In their places in the story."""

    async def client(task: SocketTask) -> None:
        started = trio.current_time()
        assert await task.receive() == "slow"
        assert trio.current_time() - started >= 2
        assert await task.receive() == "after the stall"
        with pytest.raises(SocketLostError):
            await task.receive()

    await play(
        Script().accept().delay(2).send("slow").stall(reading=False).sleep(5).resume().send("after the stall").garble()
        .send("?"),
        client,
    )  # fmt: skip


@pytest.mark.parametrize("script", [Script().sleep(1).drop(), Script().sleep(1).half_close()])
async def test_ends_are_steps(autojump_clock: trio.testing.MockClock, script: Script) -> None:
    """After them nothing is expected."""

    async def client(task: SocketTask) -> None:
        with pytest.raises(SocketLostError):
            await task.receive()

    await play(script, client)


async def test_a_rejection_is_a_step(autojump_clock: trio.testing.MockClock) -> None:
    """And the end of the story."""
    with pytest.raises(HandshakeError, match="401"):
        await play(Script().reject(401, {"WWW-Authenticate": "Bearer"}, b"who?"), nothing)


async def test_a_close_that_is_never_answered(autojump_clock: trio.testing.MockClock) -> None:
    """The client waits in vain, and the script is satisfied."""
    async with open_memory_server(Script().accept().never_answer_close().expect_close(1000)) as server:
        async with connect_socket(server.url, dial=server.dial, close_timeout=7):
            started = trio.current_time()
        assert trio.current_time() == pytest.approx(started + 7)


async def test_another_message_than_expected(autojump_clock: trio.testing.MockClock) -> None:
    """The story so far, and the difference."""
    script = Script().send("name?").expect("ada").send("welcome")
    assert await failure(script, lambda task: task.send("eda")) == (
        "the client did not follow the script at step 2 of 3:\n"
        "    1. send 'name?'\n"
        ">   2. expect 'ada'\n"
        "    3. send 'welcome'\n"
        "expected (-) and what came (+):\n"
        "- 'ada'\n"
        "?  ^\n"
        "+ 'eda'\n"
        "?  ^"
    )


async def test_what_a_function_does_not_accept(autojump_clock: trio.testing.MockClock) -> None:
    """It is named."""

    def is_polite(data: str | bytes) -> bool:
        return data == "please"

    said = await failure(Script().expect(is_polite), lambda task: task.send("now!"))
    assert "- a message that is_polite accepts" in said
    assert "+ 'now!'" in said


async def test_bytes_do_not_match_a_pattern(autojump_clock: trio.testing.MockClock) -> None:
    """A pattern is of text."""
    assert "text like 'a+'" in await failure(Script().expect(re.compile("a+")), lambda task: task.send(b"aaa"))


async def test_a_client_that_leaves_too_early(autojump_clock: trio.testing.MockClock) -> None:
    """Its close is shown beside what was expected."""
    said = await failure(Script().expect("more"), lambda task: task.aclose(4004, "no more"))
    assert "+ the client closes with 4004 'no more'" in said


async def test_another_close_than_expected(autojump_clock: trio.testing.MockClock) -> None:
    """Code and reason are compared."""
    said = await failure(Script().expect_close(4000, "done"), lambda task: task.aclose(4000, "dome"))
    assert "- the client closes with 4000 'done'" in said
    said = await failure(Script().expect_close(4000), lambda task: task.aclose(4001))
    assert "+ the client closes with 4001 ''" in said


async def test_a_client_that_vanishes(autojump_clock: trio.testing.MockClock) -> None:
    """No Close frame came, and that is said."""

    async def vanish(task: SocketTask) -> None:
        await session_of(task).connection.wire.aclose()  # type: ignore[union-attr]

    assert "+ the client went away without a Close frame" in await failure(Script().expect("more"), vanish)


async def test_a_message_instead_of_the_close(autojump_clock: trio.testing.MockClock) -> None:
    """It is shown."""
    assert "+ 'one more'" in await failure(Script().expect_close(), lambda task: task.send("one more"))


async def test_a_message_after_the_end(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing more was expected."""
    said = await failure(Script().expect("one"), say_twice)
    assert ">   2. (the end)" in said
    assert "- nothing more" in said
    assert "+ 'two'" in said


async def say_twice(task: SocketTask) -> None:
    """Say one thing too many."""
    await task.send("one")
    await task.send("two")
    await task.receive()


async def test_a_script_that_is_not_finished(autojump_clock: trio.testing.MockClock) -> None:
    """The test ended in the middle of it."""
    with pytest.raises(ScriptError) as caught:
        await play(Script().send("now").sleep(100).send("later"), lambda task: task.receive())
    assert str(caught.value) == (
        "the test ended before the script did, at step 2 of 3:\n"
        "    1. send 'now'\n"
        ">   2. sleep 100 s\n"
        "    3. send 'later'\n"
        "let the test wait for what follows, or take the rest out of the script"
    )


async def test_a_client_that_says_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """Does not hold up the test for ever, although it waits itself."""
    said = await failure(Script().expect("hello").send("hi"), lambda task: task.receive())
    assert "- 'hello'" in said
    assert "+ nothing within 60 s; pass within= if it may take longer" in said
    said = await failure(Script().expect_close(within=5), lambda task: task.receive())
    assert "+ nothing within 5 s" in said


async def test_patterns_of_text_and_of_bytes(autojump_clock: trio.testing.MockClock) -> None:
    """Each matches its own kind."""
    await play(Script().expect(re.compile(b"\x00+")), lambda task: task.send(b"\x00\x00"))
    assert "text like" in await failure(Script().expect(re.compile("0+")), lambda task: task.send(b"00"))


@pytest.mark.parametrize("what", [5, None, ["hello"]])
def test_what_cannot_be_expected(what: object) -> None:
    """Is refused when the script is written."""
    with pytest.raises(MisuseError, match="takes str, bytes, a pattern or a function"):
        Script().expect(what)  # type: ignore[arg-type]


@pytest.mark.parametrize("end", [Script().drop(), Script().reject(403), Script().close(4000)])
def test_nothing_follows_the_end(end: Script) -> None:
    """It is refused when the script is written."""
    with pytest.raises(MisuseError, match="ends the connection; \"send 'x'\" cannot follow it"):
        end.send("x")


async def test_a_step_too_late_is_misuse(autojump_clock: trio.testing.MockClock) -> None:
    """A script is written before it is played."""
    script = Script().send("x")

    async def client(_task: SocketTask) -> None:
        with pytest.raises(MisuseError, match="being played"):
            script.send("y")

    await play(script, client)


async def test_each_connection_plays_it_from_the_start(autojump_clock: trio.testing.MockClock) -> None:
    """As a server meets each client."""
    async with open_memory_server(Script().send("hello")) as server:
        for _ in range(2):
            async with connect_socket(server.url, dial=server.dial) as task:
                assert await task.receive() == "hello"


@pytest.mark.parametrize("step", [Script.stall, Script.drop, Script.half_close, lambda script: script.close(4000)])
async def test_a_client_that_leaves_before_a_fault(
    autojump_clock: trio.testing.MockClock, step: Callable[[Script], Script]
) -> None:
    """Has not followed the script, which says so with the story."""
    script = step(Script().expect("a").sleep(5))
    with pytest.raises(ScriptError, match=r"(?s)step 3 of 3.*the client closes with 3001 'on its own'"):
        async with open_memory_server(script) as server:
            async with connect_socket(server.url, dial=server.dial) as task:
                await task.send("a")
                await task.aclose(3001, "on its own")
                await trio.sleep(10)


async def test_what_a_stalled_server_does_not_see_is_not_judged(autojump_clock: trio.testing.MockClock) -> None:
    """A half-open link: what the client says into it is lost."""
    async with open_memory_server(Script().expect("a").stall()) as server:
        async with connect_socket(server.url, dial=server.dial, close_timeout=1) as task:
            await task.send("a")
            await trio.sleep(1)
            await task.send("b")


@pytest.mark.parametrize(
    ("add", "sentence"),
    [
        (lambda script: script.sleep("5"), "sleep() takes a number of seconds, not '5'"),
        (lambda script: script.sleep(-1), "sleep() takes a number of seconds, not -1"),
        (lambda script: script.sleep(10**5000), "sleep() takes a number of seconds, not a value of the type int"),
        (lambda script: script.sleep(Unprintable(-1)), "a number of seconds, not a value of the type Unprintable"),
        (lambda script: script.delay(UnprintableTime(-1)), "seconds, not a value of the type UnprintableTime"),
        (lambda script: script.delay(math.inf), "delay() takes a number of seconds, not inf"),
        (lambda script: script.expect(trio.sleep), "expect() takes a plain function, and"),
        (lambda script: script.expect(10**5000), "a pattern or a function, not a value of the type int"),
        (lambda script: script.expect("a", within=math.nan), "expect() takes a number of seconds for within, not nan"),
        (lambda script: script.expect("a", within="a"), "expect() takes a number of seconds for within, not 'a'"),
        (lambda script: script.expect_close(within=-1), "expect_close() takes a number of seconds for within, not -1"),
        (lambda script: script.expect_close("1000"), "expect_close() takes a code from 1000 to 4999, not '1000'"),
        (
            lambda script: script.expect_close(1000, b"bye"),
            "expect_close() takes a reason of str, not bytes of length 3",
        ),
        (lambda script: script.accept(5), "accept() takes a protocol of str, not a value of the type int"),
        (lambda script: script.accept("\r\n"), r"accept() takes a protocol that is a token, not '\r\n'"),
        (lambda script: script.accept(""), "accept() takes a protocol that is a token, not ''"),
        (lambda script: script.accept(header={"a": 1}), "the field 'a' cannot be a value of the type int; its value"),
        (lambda script: script.accept(header={1: "a"}), "the field 1 cannot be sent; its name must be a token"),
        (
            lambda script: script.accept(header={"Content-Length": "x"}),
            "the field 'Content-Length' is the server's own",
        ),
        (lambda script: script.accept(header={"Transfer-Encoding": "gzip"}), "'Transfer-Encoding' is the server's own"),
        (lambda script: script.reject(400, {"content-length": "5"}, b"abc"), "is the server's own to send; send_raw()"),
        (lambda script: script.reject(400, {"X": " y"}), "one line of Latin-1, with no space around it"),
        (lambda script: script.reject(400, {"X": "y\t"}), "one line of Latin-1, with no space around it"),
        (lambda script: script.reject(400, {"X": " "}), "one line of Latin-1, with no space around it"),
        (lambda script: script.reject(400, {10**5000: "x"}), "the field a value of the type int cannot be sent"),
        (lambda script: script.accept(header=["a"]), "header must be a mapping of names to values, not a value of"),
        (lambda script: script.reject(10**5000), "a status from 200 to 599, not a value of the type int"),
        (lambda script: script.reject(403, {"a b": ""}), "the field 'a b' cannot be sent; its name must be a token"),
        (lambda script: script.reject(403, body="no"), "reject() with 403 takes a body of bytes"),
        (lambda script: script.send(5), "send() takes str or bytes, not a value of the type int"),
        (
            lambda script: script.send("a\ud800"),
            "send() takes a message without lone surrogates (U+D800 at position 1)",
        ),
        (lambda script: script.send_raw("a"), "send_raw() takes bytes, not a str of 1 characters"),
        (lambda script: script.close(1006), "close() takes a code that may be sent, not 1006; send_raw()"),
        (lambda script: script.close(10**5000), "close() takes a code that may be sent, not a value of the type int"),
        (lambda script: script.close(reason=None), "close() takes a reason of str, not None"),
        (
            lambda script: script.close(reason="\ud800"),
            "close() takes a reason without lone surrogates (U+D800 at position 0)",
        ),
    ],
)
def test_bad_steps_are_misuse(add: Callable[[Script], Script], sentence: str) -> None:
    """When the script is written, not when it is played."""
    with pytest.raises(MisuseError, match=re.escape(sentence)):
        add(Script())


@pytest.mark.parametrize(
    ("script", "client"),
    [
        (lambda: Script().sleep(Unprintable(1)).close(Unprintable(4000)), lambda task: task.wait_closed()),
        (lambda: Script().delay(UnprintableTime(1)).expect_close(Unprintable(4000)), lambda task: task.aclose(4000)),
    ],
)
async def test_good_numbers_that_cannot_be_written(
    autojump_clock: trio.testing.MockClock, script: Callable[[], Script], client: Client
) -> None:
    """They do as numbers of any other type."""
    await play(script(), client)
    with pytest.raises(HandshakeError, match="403"):
        await play(Script().reject(Unprintable(403)), nothing)
    with pytest.raises(MisuseError, match=r"reject\(\) with 403 takes a body of bytes"):
        Script().reject(Unprintable(403), body="no")  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["", "y", "a b\tc", "caf\xe9"])
async def test_values_of_a_field(autojump_clock: trio.testing.MockClock, value: str) -> None:
    """Space inside one is no matter, and it may be empty."""
    with pytest.raises(HandshakeError) as caught:
        await play(Script().reject(400, {"X": value}), nothing)
    assert caught.value.header["X"] == value


@pytest.mark.parametrize(
    ("first", "answer"),
    [
        (lambda: Script().accept(), "accept protocol None"),
        (lambda: Script().send("x").send("y"), "send 'x'"),
        (lambda: Script().delay(1).expect("x"), "expect 'x'"),
        (lambda: Script().expect_close(), "the client closes with 1000"),
        (lambda: Script().sleep(1).stall(), "sleep 1 s"),
    ],
)
def test_the_handshake_is_answered_once(first: Callable[[], Script], answer: str) -> None:
    """And before anything that needs it; refused when the script is written."""
    for text, add in {
        "accept protocol 'a'": partial(Script.accept, protocol="a"),
        "reject with 400": partial(Script.reject, status=400),
    }.items():
        with pytest.raises(MisuseError, match=re.escape(f"{answer!r} answers the handshake; {text!r} cannot follow")):
            add(first())


async def test_faults_before_the_handshake_is_answered(autojump_clock: trio.testing.MockClock) -> None:
    """A server that hangs for a while, and accepts after all."""
    script = Script().delay(1).stall().sleep(5).resume().accept(header={"X": "late"}).send("hello")
    await play(script, lambda task: task.receive())


async def test_a_step_may_wait_for_ever(autojump_clock: trio.testing.MockClock) -> None:
    """A program may take days between two messages."""

    async def client(task: SocketTask) -> None:
        await trio.sleep(86_400)
        await task.send("late")

    await play(Script().expect("late", within=math.inf), client)


async def test_a_function_that_turns_out_async_is_misuse(autojump_clock: trio.testing.MockClock) -> None:
    """What it returns would always be taken for yes."""

    class Accepts:
        async def __call__(self, _data: str | bytes) -> bool:
            return False

    class Later:
        def __await__(self) -> Iterator[bool]:
            yield False

    for function in (Accepts(), lambda _data: Later()):
        with pytest.raises(MisuseError, match=r"takes a plain function, and .* is async"):
            await play(Script().expect(function), lambda task: task.send("no"))  # type: ignore[arg-type]
