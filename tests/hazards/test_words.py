"""Hazards E1 to E6 and E8: what an opening raises, what errors say, and what they keep to themselves.

Ids such as E1 are rows of the tables in `docs/explanation/reliability.md`.
"""

from __future__ import annotations

import base64
import errno
import html
import json
import logging
import math
import pickle
import re
import socket
import ssl
import struct
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import quote

import pytest
import trio
from conftest import Reach, Serve, ServeTcp
from mute import MuteError
from peer import TEXT, URL, Peer, Script, close_frame, frame, reset
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from trio_socket_task import (
    Attempt,
    CloseEvent,
    ConnectError,
    ConnectOptions,
    ConnectTimeoutError,
    GaveUpError,
    HandshakeError,
    Heartbeat,
    InvalidOptionsError,
    MessageEvent,
    OpenEvent,
    Retry,
    SocketLostError,
    SocketNotOpenError,
    SocketTaskError,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
)
from trio_socket_task._events import Header

SECRET = "s3cr3t-T0KEN"  # noqa: S105 (of a test)


async def refused(url: str, **options: object) -> SocketTaskError:
    """Fail to open, and give the error."""
    with trio.fail_after(60), pytest.raises(SocketTaskError) as caught:
        async with connect_socket(url, **options):  # type: ignore[arg-type]
            pass
    return caught.value


def says(head: bytes, body: bytes = b"") -> Script:
    """Give a script that answers the request with raw bytes and leaves."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        await peer.send(head + b"\r\n\r\n" + body)
        await peer.stream.aclose()

    return script


# E1: the opening raises ConnectError or InvalidOptionsError


@pytest.mark.parametrize(
    "name", ["Transfer-Encoding", "transfer-encoding", "Trailer", "Expect", "TE", "Keep-Alive", "HTTP2-Settings"]
)
async def test_e1_fields_that_http_forbids(name: str) -> None:
    """They are refused by name, before any I/O."""
    with pytest.raises(InvalidOptionsError, match=f"header must leave .* alone, of which {name} is one"):
        async with connect_socket(URL, header={name: "chunked"}):
            pass
    async with open_socket_manager() as manager:
        with pytest.raises(InvalidOptionsError):
            manager.connect_socket(URL, header={name: "gzip"})
        assert manager.sockets == ()


class Odd(trio.abc.Stream):
    """A stream of somebody else's, which raises what it likes where it likes."""

    def __init__(self, where: str, error: Callable[[], BaseException]) -> None:
        self._where = where
        self._error = error

    async def _do(self, what: str) -> None:
        await trio.lowlevel.checkpoint()
        if what == self._where:
            raise self._error()

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        del data
        await self._do("send")

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        del max_bytes
        await self._do("receive")
        return b""

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await self._do("close")


ODD = [
    lambda: ValueError("odd"),
    lambda: OSError(errno.EPIPE, "odd"),
    lambda: ExceptionGroup("odd", [ValueError("odd"), KeyError("odd")]),
    lambda: trio.ClosedResourceError("odd"),
    lambda: trio.BusyResourceError("odd"),
    lambda: BaseExceptionGroup("odd", [ValueError("odd")]),
    lambda: ssl.SSLError(1, "odd"),
    lambda: EOFError("odd"),
]


@pytest.mark.parametrize("where", ["dial", "send", "receive", "close"])
@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("error", ODD)
async def test_e1_whatever_a_stream_raises(where: str, scheme: str, error: Callable[[], Exception]) -> None:
    """It is a ConnectError, in a block, in a manager, and its cause is kept."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        if where == "dial":
            raise error()
        return Odd(where, error)

    assert type(await refused(f"{scheme}://a/", dial=dial)) is ConnectError
    async with open_socket_manager(dial=dial) as manager:
        task = manager.connect_socket(f"{scheme}://a/")
        assert (await task.wait_closed()).code == 1006
        assert [type(event.error) async for event in task.on_error()] == [ConnectError]


async def test_e1_an_error_that_cannot_say_what_it_is(serve: Serve) -> None:
    """Its type is named, and its own error is nobody's, while a socket opens and afterwards."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Odd("receive", MuteError)

    error = await refused(URL, dial=dial)
    assert str(error).endswith("the connection broke during the handshake: MuteError")
    assert isinstance(error.__cause__, MuteError)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_end()

    async def dial_failing(host: str, port: int) -> trio.abc.Stream:
        stream = await serve(script)(host, port)
        receive, heads = stream.receive_some, 0

        async def receive_some(max_bytes: int | None = None) -> bytes | bytearray:
            nonlocal heads
            if heads:
                raise MuteError
            heads += 1
            return await receive(max_bytes)

        stream.receive_some = receive_some  # type: ignore[method-assign]
        return stream

    async with connect_socket(URL, dial=dial_failing) as task:
        with pytest.raises(SocketLostError, match="the connection was lost: MuteError"):
            await task.receive()


async def test_e1_a_dial_that_returns_a_closed_stream() -> None:
    """Or one that the kernel has no option for."""

    async def closed(host: str, port: int) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(host, port)
        await stream.aclose()
        return stream

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, trio.abc.AsyncResource.aclose, 0)
        port = listeners[0].socket.getsockname()[1]
        for scheme in ("ws", "wss"):
            assert type(await refused(f"{scheme}://127.0.0.1:{port}/", dial=closed)) is ConnectError
        nursery.cancel_scope.cancel()


async def test_e1_tcp_no_delay_cannot_be_set(serve_tcp: ServeTcp, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a socket that is not TCP's, or that was reset: the connection is used, or fails by itself."""

    def refuse(*_arguments: object) -> None:
        raise OSError(errno.ENOPROTOOPT, "no such option")

    monkeypatch.setattr(trio.SocketStream, "setsockopt", refuse)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.echo()

    async with connect_socket(await serve_tcp(script), tcp_no_delay=True) as task:
        await task.send("hello")
        assert await task.receive() == "hello"


async def test_e1_a_dial_that_is_not_what_it_must_be() -> None:
    """The sentence says so, and its cause is a TypeError: another attempt would meet the same."""

    def plain(_host: str, _port: int) -> trio.abc.Stream:
        return memory_stream_pair()[0]

    error = await refused(URL, dial=plain)
    assert "dial must be an async function, but it returned StapledStream" in str(error)
    assert isinstance(error.__cause__, TypeError)


# E2: what the server said is read before an error of writing is told

ANSWER = b"HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy"


@pytest.mark.parametrize("size", [10, 100_000, 3_000_000])
@pytest.mark.parametrize("leaves", [pytest.param("resets", marks=pytest.mark.needs("what a reset follows")), "closes"])
async def test_e2_an_answer_before_the_request_was_read(serve_tcp: ServeTcp, size: int, leaves: str) -> None:
    """The refusal is told, not the reset that follows it."""
    answered = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.send(ANSWER)
        assert isinstance(peer.stream, trio.SocketStream)
        if leaves == "resets":
            peer.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await peer.stream.aclose()
        answered.set()

    async def dial(host: str, port: int) -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(host, port)
        if size == 10:
            await answered.wait()
        return stream

    error = await refused(await serve_tcp(script), dial=dial, header={"X": "y" * size})
    assert isinstance(error, HandshakeError)
    assert (error.status_code, error.header["Retry-After"], error.body) == (429, "7", b"busy")


async def test_e2_a_server_that_answers_and_reads_no_more(serve: Serve, autojump_clock: MockClock) -> None:
    """A request that cannot be written any further does not keep the answer from being read."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(10)
        await peer.send(ANSWER)
        await trio.sleep_forever()

    error = await refused(URL, dial=serve(script, lockstep=True), header={"X": "y" * 1000}, timeout=30)
    assert isinstance(error, HandshakeError)
    assert error.status_code == 429
    assert trio.current_time() < 30


async def test_e2_a_request_that_cannot_be_written(serve: Serve) -> None:
    """Where nothing was said, the error of writing is told, with its cause."""

    def pipe() -> Exception:
        error = trio.BrokenResourceError("pipe")
        error.__cause__ = BrokenPipeError(errno.EPIPE, "the pipe broke")
        return error

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Odd("send", pipe)

    error = await refused(URL, dial=dial)
    assert "the connection broke during the handshake: " in str(error)
    assert isinstance(error.__cause__, BrokenPipeError)


@pytest.mark.parametrize("seconds", [0.5, 60])
@pytest.mark.parametrize("answers", [True, False])
async def test_e2_a_request_that_cannot_be_written_to_a_silent_peer(
    seconds: float, autojump_clock: MockClock, *, answers: bool
) -> None:
    """Its last words are waited for, and not as long as an answer, after which the error of writing is told."""

    class Silent(Odd):
        """A stream that cannot be written, and gives its bytes late, or none."""

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            del max_bytes
            await trio.sleep(seconds / 200 if answers else math.inf)
            return ANSWER

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Silent("send", lambda: trio.BrokenResourceError("certificate required"))

    error = await refused(URL, dial=dial, timeout=seconds)
    assert trio.current_time() < min(seconds, 3)
    if answers:
        assert isinstance(error, HandshakeError)
        assert error.status_code == 429
    else:
        assert type(error) is ConnectError
        assert str(error).endswith("the connection broke during the handshake: certificate required")
        assert isinstance(error.__cause__, trio.BrokenResourceError)


@pytest.mark.parametrize("seconds", [0.5, 60])
async def test_e2_a_tls_handshake_that_cannot_be_written_to_a_silent_peer(
    seconds: float, autojump_clock: MockClock
) -> None:
    """It is not waited for as long as for one that may answer."""

    class Silent(Odd):
        """A stream that cannot be written, and gives nothing."""

        async def receive_some(self, max_bytes: int | None = None) -> bytes:
            del max_bytes
            await trio.sleep_forever()
            raise AssertionError

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Silent("send", lambda: trio.BrokenResourceError("the pipe broke"))

    error = await refused("wss://server.test/", dial=dial, timeout=seconds)
    assert trio.current_time() < min(seconds, 3)
    assert type(error) is ConnectError
    assert str(error).endswith("the TLS handshake failed: the pipe broke")


@pytest.mark.needs("what a reset follows")
async def test_e2_an_alert_of_tls_says_what_was_wrong(
    server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """A server that wants a certificate of the client's says so after the client's handshake is done."""

    def serve(listener: socket.socket) -> None:
        """Be a server of OpenSSL's own making: Trio's sends no alert."""
        for _ in range(20):
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                server_context.wrap_socket(connection, server_side=True).recv(1)

    server_context.verify_mode = ssl.CERT_REQUIRED
    try:
        with trio.fail_after(60), socket.create_server(("127.0.0.1", 0)) as listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(partial(trio.to_thread.run_sync, serve, listener, abandon_on_cancel=True))
                for _ in range(20):
                    url = f"wss://127.0.0.1:{listener.getsockname()[1]}/"
                    error = await refused(url, ssl_context=client_context)
                    assert re.search("certificate.required", str(error), re.IGNORECASE), error
                    assert isinstance(error.__cause__, ssl.SSLError)
    finally:
        server_context.verify_mode = ssl.CERT_NONE


# E3: secrets stay out of texts, reprs and logs


def everything(error: BaseException) -> str:
    """Give all that a log may show of an exception."""
    return "".join((str(error), repr(error), *traceback.format_exception(error)))


@pytest.mark.parametrize(
    ("url", "options"),
    [
        (URL, {"header": {"Authorization": f"Bearer {SECRET}\n"}}),
        (URL, {"header": {"Authorization": f"Bearer {SECRET}\ud800"}}),
        (URL, {"header": {"Authorization": f"Bearer {SECRET}".encode()}}),
        (URL, {"header": {f"Authorization: Bearer {SECRET}": "x"}}),
        (URL, {"header": {"Transfer-Encoding": SECRET}}),
        (URL, {"header": f"Authorization: Bearer {SECRET}"}),
        (URL, {"header": [("Authorization", SECRET)]}),
        (URL, {"protocols": [f"bearer {SECRET}"]}),
        (URL, {"protocols": [SECRET, SECRET]}),
        (URL, {"protocols": SECRET}),
        (f"wss://user:{SECRET}@example.org/", {}),
        (f"wss://user:{SECRET}@example.org:x/", {}),
        (f"wss://user:{SECRET}/path", {}),
        (f"ws://a/?token={SECRET}#fragment", {}),
        (f"ws://a/?token={SECRET} ", {}),
        (f"ws://a/?token={SECRET}\n", {}),
        (f"ws://a/?token={SECRET}\ud800", {}),
        (f"http://a/?token={SECRET}", {}),
        (f"//user:{SECRET}@a/", {}),
        (f"ws://[{SECRET}@]/?{SECRET}", {}),
        (f"ws://user:{SECRET}@\u2100.example/", {}),
        (f"ws://a:0/?token={SECRET}", {}),
        (f"ws://127.0.0.1:1/?token={SECRET}", {}),
        (f"ws://127.0.0.1:1/?token={SECRET}", {"ssl_context": ssl.create_default_context()}),
    ],
)
async def test_e3_refusals_and_failures_quote_no_secret(
    url: str, options: ConnectOptions, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the text, the repr, the traceback with all causes, or the log; the fields keep it whole."""
    caplog.set_level(logging.DEBUG)
    error = await refused(url, **options)
    assert SECRET not in everything(error)
    assert SECRET not in caplog.text
    context: BaseException | None = error
    while context is not None:
        assert SECRET not in everything(context)
        context = context.__context__


async def test_e3_the_offending_character_is_named() -> None:
    """A token that was read from a file with its newline is the usual mistake."""
    error = await refused(URL, header={"Authorization": f"Bearer {SECRET}\n"})
    assert "as value of Authorization (U+000A at position 19), not a str of 20 characters" in str(error)
    error = await refused(URL, header={"Authorization:": "x"})
    assert "(U+003A at position 13)" in str(error)
    error = await refused(URL, protocols=["a b"])
    assert "(U+0020 at position 1)" in str(error)


async def test_e3_open_sockets_and_what_they_report(serve: Serve) -> None:
    """Reprs of handles, events, headers and errors; `url` is whole."""

    async def script(peer: Peer) -> None:
        await peer.accept(f"Set-Cookie: {SECRET}", then=frame(TEXT, SECRET.encode()))
        await peer.finish()

    url = f"{URL}?token={SECRET}"
    async with open_socket_manager(dial=serve(script)) as manager:
        task = manager.connect_socket(url)
        opened, message = await task.wait_open(), await task.receive()
        shown = [repr(task), repr(opened), repr(opened.header), repr(MessageEvent(message)), repr(manager)]
        for data in (f"{SECRET}\ud800", SECRET):
            with suppress(InvalidOptionsError):
                await task.send(data)
        with pytest.raises(InvalidOptionsError) as caught:
            await task.send(f"{SECRET}\ud800")
        shown.append(everything(caught.value))
        with pytest.raises(TypeError) as wrong:
            await task.send([SECRET])  # type: ignore[arg-type]
        shown.append(everything(wrong.value))
        assert task.url == url
        assert opened.header["set-cookie"] == SECRET
    assert SECRET not in "".join(shown)


@pytest.mark.parametrize(
    "value",
    [
        ConnectError(f"ws://a/?{SECRET}", f"see wss://u:{SECRET}@b/"),
        ConnectTimeoutError(f"ws://a/?{SECRET}", 1, "connecting"),
        HandshakeError(f"ws://u:{SECRET}@a/", "no", 403, {"Set-Cookie": SECRET}, SECRET.encode()),
        SocketNotOpenError(f"ws://a/?{SECRET}"),
        GaveUpError("no", [Attempt(url=f"ws://a/?{SECRET}")]),
        Attempt(url=f"ws://a/?{SECRET}", error=ConnectError(f"ws://a/?{SECRET}", "no")),
        OpenEvent(Header([("Set-Cookie", SECRET)])),
        Heartbeat(message=SECRET, reply=SECRET),
        SocketLostError(CloseEvent(code=4000, reason=f"see https://a/?{SECRET}")),
    ],
)
def test_e3_values(value: object) -> None:
    """What is printed of them says what they are, and they survive pickling whole."""
    assert SECRET not in repr(value)
    assert SECRET not in str(value)
    if not isinstance(value, Heartbeat):
        assert SECRET.encode() in pickle.dumps(value)


async def test_e3_where_a_redirect_points_to(serve: Serve) -> None:
    """Its query is masked in the sentence, and whole in the field."""
    location = f"https://login.example/?code={SECRET}"
    error = await refused(URL, dial=serve(says(f"HTTP/1.1 302 Found\r\nLocation: {location}".encode())))
    assert isinstance(error, HandshakeError)
    assert "it points to https://login.example/?***" in str(error)
    assert error.header["location"] == location
    assert SECRET not in everything(error)


async def test_e3_a_field_of_the_server_s_that_is_not_valid(serve: Serve) -> None:
    """Its value may be a secret, and is in no error's words."""
    error = await refused(URL, dial=serve(says(f"HTTP/1.1 101 X\r\nSet-Cookie : {SECRET}".encode())))
    assert "illegal header line" in str(error)
    assert SECRET not in everything(error)


async def test_e3_a_long_location_is_cut(serve: Serve) -> None:
    """An error is a sentence, whatever the server sends; the field has the whole."""
    location = "https://login.example/" + "x" * 20_000
    error = await refused(URL, dial=serve(says(f"HTTP/1.1 302 Found\r\nLocation: {location}".encode())))
    assert isinstance(error, HandshakeError)
    assert str(error).endswith("x...")
    assert len(str(error)) < 400
    assert error.header["location"] == location


CREDENTIALS = base64.b64encode(f"Aladdin:{SECRET}".encode()).decode()
CANARIES = ("word=open+sesame&", SECRET, "mm/nn", CREDENTIALS, "Aladdin", "crumb", "törö", "9t0k3n5x")
ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "all": lambda request: b"HTTP/1.1 403 No\r\nContent-Type: text/plain\r\n\r\n" + request,
    "raw": lambda request: request,
    "json": lambda request: b"HTTP/1.1 403 No\r\n\r\n" + json.dumps([request.decode()]).replace("/", r"\/").encode(),
    "html": lambda request: b"HTTP/1.1 403 No\r\n\r\n<p>" + html.escape(request.decode()).encode(),
    "reason": lambda request: b"HTTP/1.1 403 " + b" ".join(request.split()) + b"\r\n\r\n",
    "place": lambda request: b"HTTP/1.1 302 No\r\nLocation: /" + quote(request).encode() + b"\r\n\r\n",
    "alone": lambda _request: f"HTTP/1.1 403 No\r\n\r\n{SECRET} open sesame of Aladdin and törö".encode(),
    "bytes": lambda _request: b"HTTP/1.1 403 No t\xc3\xb6r\xc3\xb6\r\n\r\n" + "mm/nn törö \xff".encode("latin-1"),
}


@pytest.mark.parametrize("echo", ECHOES)
async def test_e3_a_server_that_repeats_the_request(serve: Serve, echo: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its query and its secrets are masked in every spelling, alone and together; the fields of the error are whole."""
    sent: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.read_request()
        lines = peer.request.splitlines()
        ours = [line for line in lines if line.startswith(starts)]
        sent.append(ECHOES[echo](b"\r\n".join([*ours, *lines])))
        await peer.send(sent[0])
        await peer.stream.aclose()

    starts = (b"GET", b"Authorization", b"Cookie", b"X-", b"Sec-WebSocket-Protocol")
    options: ConnectOptions = {
        "dial": serve(script),
        "header": {
            "Authorization": f"Basic {CREDENTIALS}",
            "Cookie": "sid=crumb; b=c",
            "X-Key": "mm/nn törö",
            "X-Broken": "Basic x",
        },
        "protocols": ["chat", "bearer.9t0k3n5x.a"],
    }
    url = f"{URL}?word=open+sesame&token={SECRET}&x=mm%2Fnn"
    caplog.set_level(logging.DEBUG, "trio_socket_task")
    error = await refused(url, **options)
    assert isinstance(error, HandshakeError)
    async with open_resilient_socket(url, retry=Retry(max_attempts=1), **options) as socket:
        with pytest.raises(GaveUpError) as caught:
            await socket.receive()
    said = everything(error) + error.why + everything(caught.value) + caplog.text
    assert [canary for canary in CANARIES if canary in said] == []
    assert "***" in error.why
    assert sent[0].endswith(error.body)


async def test_e3_what_a_server_repeats_that_is_no_secret(serve: Serve) -> None:
    """Few characters, what the URL shows anyway, and what tells of the program."""
    body = b"no to /chat?to=no for chat by https://origin.test, you/1.0"
    fields = {"Origin": "https://origin.test", "User-Agent": "you/1.0"}
    head = b"HTTP/1.1 403 No\r\nContent-Type: text/plain"
    error = await refused(f"{URL}?to=no&of=chat", dial=serve(says(head, body)), header=fields)
    assert str(error).endswith(": no to /chat?*** for chat by https://origin.test, you/1.0")


async def test_e3_a_101_that_repeats_a_secret(serve: Serve) -> None:
    """What is wrong with it is told without."""

    async def script(peer: Peer) -> None:
        await peer.accept(f"Sec-WebSocket-Extensions: {SECRET}")
        await peer.read_end()

    error = await refused(URL, dial=serve(script), header={"X-Key": SECRET}, per_message_deflate=True)
    assert "chooses the extension ***, which was not offered" in str(error)


# E4: the server's explanation


@pytest.mark.parametrize(
    ("fields", "body", "told"),
    [
        (b"Content-Type: text/plain", b"token  expired\n", ": token expired"),
        (b"Content-Type: application/problem+json", b'{"error": "no"}', ': {"error": "no"}'),
        (b"", b"Use the command line flag", ": Use the command line flag"),
        (b"Content-Type: text/html", b"<title>The plain HTTP request</title><script>x()</script>&amp; more", ""),
        (b"Content-Type: text/plain", "héé".encode()[:-1], ": hé"),
        (b"Content-Type: text/plain", b"caf\xe9 noir", ": café noir"),
        (b"Content-Type: text/plain", b"\x1b]0;title\x07\x9b", ": \\x1b]0;title\\x07\\x9b"),
        (b"Content-Type: text/plain", b"x" * 5000, ": " + "x" * 200 + "..."),
        (b"Content-Type: text/html", b"busy &#" + b"9" * 5000 + b";", ": busy &#" + "9" * 193 + "..."),
        (b"Content-Type: image/png", b"text all the same", None),
        (b"Content-Type: text/plain\r\nContent-Encoding: gzip", b"\x1f\x8b\x08", None),
        (b"", b"\x1f\x8b\x08\x00\xff", None),
        (b"Content-Type: text/plain", b"a\0b", None),
        (b"Content-Type: text/plain", b" \r\n ", None),
        (b"Content-Type: text/plain", f"see https://a/?{SECRET}".encode(), ": see https://a/?***"),
    ],
)
async def test_e4_the_body_of_a_refusal(serve: Serve, fields: bytes, body: bytes, told: str | None) -> None:
    """Text, JSON and HTML stand in the sentence, on one line, cut, with control characters made visible."""
    head = b"HTTP/1.1 403 Forbidden\r\nContent-Length: %d" % len(body)
    error = await refused(URL, dial=serve(says(head + (b"\r\n" + fields if fields else b""), body)))
    assert isinstance(error, HandshakeError)
    assert error.body == body
    if told == "":
        assert str(error).endswith(": The plain HTTP request & more")
    elif told is None:
        assert str(error).endswith("the server answered 403 Forbidden")
    else:
        assert str(error).endswith("the server answered 403 Forbidden" + told)


# E5: a time-out says what for


@pytest.mark.parametrize("kind", ["dial", "tls", "silent", "begun"])
async def test_e5_the_phase_of_a_time_out(kind: str, autojump_clock: MockClock) -> None:
    """And its peer: another cure is needed for each."""

    async def dial(_host: str, _port: int) -> trio.abc.Stream:
        if kind == "dial":
            await trio.sleep_forever()
        await trio.lowlevel.checkpoint()
        client, server = memory_stream_pair()
        servers.append(server)
        if kind == "begun":
            await server.send_all(b"HTTP/1.1 101 Switching")
        return client

    servers: list[trio.abc.Stream] = []
    url = "wss://server.test:8443/" if kind == "tls" else "ws://server.test:8080/"
    error = await refused(url, dial=dial, timeout=3)
    assert isinstance(error, ConnectTimeoutError)
    words = {
        "dial": "dial connected to server.test:8080",
        "tls": "waiting for server.test:8443 to finish the TLS handshake",
        "silent": "waiting for server.test:8080 to answer the opening handshake, of which nothing has come",
        "begun": "waiting for the rest of the response of server.test:8080",
    }[kind]
    assert error.phase == words
    assert f"not open within 3 seconds, {words}; pass a longer timeout=" in str(error)
    assert trio.current_time() == pytest.approx(3)


async def test_e5_the_phase_without_dial(monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock) -> None:
    """Name and TCP."""

    async def open_tcp_stream(_host: str, _port: int) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(trio, "open_tcp_stream", open_tcp_stream)
    error = await refused("ws://[::1]:8080/", timeout=3)
    assert "not open within 3 seconds, connecting to [::1]:8080; " in str(error)


# E6: one truth, as soon as it is known


async def test_e6_the_close_event_is_there_where_a_program_looks(serve: Serve, autojump_clock: MockClock) -> None:
    """Behind the end of an iteration, and inside `except SocketLostError`."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=close_frame(1001, "bye"))
        await peer.read_end()

    async with connect_socket(URL, dial=serve(script), close_timeout=1) as task:
        async for _ in task:
            pass
        assert task.close_event == CloseEvent(code=1001, reason="bye", peer_code=1001, peer_reason="bye")
    assert task.close_event == CloseEvent(code=1001, reason="bye", peer_code=1001, peer_reason="bye")

    async def lose(peer: Peer) -> None:
        await peer.accept(then=frame(TEXT, b"\xff"))
        await peer.read_end()

    async with connect_socket(URL, dial=serve(lose)) as task:
        with pytest.raises(SocketLostError) as caught:
            await task.receive()
        assert task.close_event == caught.value.close_event == CloseEvent(code=1006)


async def test_e6_a_local_close_is_known_with_its_answer(serve: Serve) -> None:
    """Before, nobody knows what the peer will say."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        task.close(4000, "done")
        assert task.close_event is None
        assert await task.wait_closed() == task.close_event


@pytest.mark.needs("what a reset follows")
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_e6_a_write_error_does_not_hide_the_peer_s_close(reach: Reach, kind: str) -> None:
    """A server that closed with 1009 and went: the program's send says so, not that a pipe broke."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.read_frame()
        transport = peer.stream.transport_stream if isinstance(peer.stream, trio.SSLStream) else peer.stream
        await peer.send(close_frame(1009, "too big"))
        await transport.aclose()

    url, options = await reach(kind, script)
    with trio.fail_after(60):
        for _ in range(10):
            async with connect_socket(url, **options) as task:
                with pytest.raises(SocketLostError, match="the peer closed the socket with 1009") as caught:
                    while True:
                        await task.send("x" * 100_000)
                assert caught.value.close_event.reason == "too big"
                assert task.close_event == caught.value.close_event


class DeafPipe(trio.abc.Stream):
    """A stream that can be read when it cannot be written any more, as Trio's own can only by waiting."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self.broken = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, until it is broken."""
        if self.broken:
            raise trio.BrokenResourceError("the pipe is broken")
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait for nothing."""

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """Receive all the same."""
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()


@pytest.mark.parametrize("closes", [False, True])
async def test_e6_a_close_event_never_changes(serve: Serve, *, closes: bool) -> None:
    """After a write error it is not known before the peer's last words are read, and no later `close` changes it."""
    go = trio.Event()

    async def script(peer: Peer) -> None:
        await peer.accept()
        await go.wait()
        await peer.send(close_frame(1009, "too big") if closes else b"")
        await peer.stream.aclose()

    pipes: list[DeafPipe] = []

    async def dial(host: str, port: int) -> trio.abc.Stream:
        pipes.append(DeafPipe(await serve(script)(host, port)))
        return pipes[0]

    async with connect_socket(URL, dial=dial) as task:
        pipes[0].broken = True
        await task.send("x")
        await wait_all_tasks_blocked()
        with pytest.raises(SocketLostError, match="the pipe is broken"):
            await task.send("y")
        assert task.close_event is None
        task.close(4000)
        assert task.close_event is None
        go.set()
        event = await task.wait_closed()
        assert event == task.close_event
        assert event == (
            CloseEvent(code=1009, reason="too big", peer_code=1009, peer_reason="too big")
            if closes
            else CloseEvent(code=1006)
        )


@pytest.mark.needs("what a reset follows")
@pytest.mark.parametrize("kind", ["tcp", "tls"])
async def test_e6_a_reset_is_known_where_the_send_fails(reach: Reach, kind: str) -> None:
    """Nothing more can come of a connection that was reset, so the close event is there, and stays as it is."""

    async def script(peer: Peer) -> None:
        await peer.accept()
        await reset(peer.stream)

    url, options = await reach(kind, script)
    with trio.fail_after(60):
        async with connect_socket(url, **options) as task:
            with pytest.raises(SocketLostError) as caught:
                while True:
                    await task.send("x" * 100_000)
            assert task.close_event == caught.value.close_event == CloseEvent(code=1006)
            assert await task.wait_closed() == CloseEvent(code=1006)


async def test_e6_codes_are_of_one_type(serve: Serve) -> None:
    """Plain numbers, wherever they come from; they equal the members of CloseCode."""

    async def script(peer: Peer) -> None:
        await peer.accept(then=close_frame(1001))
        await peer.stream.aclose()

    async def drop(peer: Peer) -> None:
        await peer.accept()
        await peer.stream.aclose()

    for one in (script, drop):
        async with connect_socket(URL, dial=serve(one)) as task:
            event = await task.wait_closed()
        assert type(event.code) is int
        assert type(event.peer_code) in {int, type(None)}
        assert repr(event).startswith(f"CloseEvent(code={event.code},")


# E8: what the protocols say


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ('ws://a/?json={"a":1}', "/?json=%7B%22a%22:1%7D"),
        ("ws://a/<b>\\x^`|", "/%3Cb%3E%5Cx%5E%60%7C"),
        ("ws://a/a%2Fb;p=1,2@x:y'()*!$&+=[1]~-._", "/a%2Fb;p=1,2@x:y'()*!$&+=[1]~-._"),
        ("ws://a/中?é", "/%E4%B8%AD?%C3%A9"),
    ],
)
async def test_e8_the_request_target(serve: Serve, url: str, target: str) -> None:
    """What a URL may not hold is percent-encoded (RFC 3986 section 2)."""
    requests: list[bytes] = []

    async def script(peer: Peer) -> None:
        await peer.accept()
        requests.append(peer.request)
        await peer.finish()

    async with connect_socket(url, dial=serve(script)):
        pass
    assert requests[0].startswith(f"GET {target} HTTP/1.1\r\n".encode())


async def test_e8_a_name_with_a_trailing_dot(
    serve_tcp: ServeTcp, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    """TLS is asked for the name without it (RFC 6066 section 3); the resolver gets it as it is."""
    asked: list[str | None] = []
    server_context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def script(peer: Peer) -> None:
        await peer.accept()
        await peer.finish()

    async def dial(host: str, port: int) -> trio.abc.Stream:
        assert host == "localhost."
        return await trio.open_tcp_stream("127.0.0.1", port)

    try:
        url = (await serve_tcp(script, server_context)).replace("127.0.0.1", "localhost.")
        async with connect_socket(url, ssl_context=client_context, dial=dial):
            pass
    finally:
        server_context.sni_callback = None
    assert asked == ["localhost"]


@pytest.mark.parametrize(
    "fields",
    [("Upgrade: h2c", "Upgrade: websocket"), ("Upgrade: websocket", "Upgrade: h2c"), ("Upgrade: h2c, websocket",)],
)
async def test_e8_another_protocol_beside_websocket(serve: Serve, fields: tuple[str, ...]) -> None:
    """Upgrade must say websocket and nothing else (RFC 6455 section 4.1)."""

    async def script(peer: Peer) -> None:
        accept = (await peer.read_request()).decode()
        lines = ("HTTP/1.1 101 X", *fields, "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}", "", "")
        await peer.send("\r\n".join(lines).encode())
        await peer.read_end()

    error = await refused(URL, dial=serve(script))
    assert "has no Upgrade: websocket" in str(error)


@pytest.mark.parametrize(
    "field",
    [
        "Transfer-Encoding: identity",
        "Transfer-Encoding: gzip",
        "Content-Length:",
        "Content-Length: ten",
        "Content-Length: 5\r\nContent-Length: 7",
        "Content-Length: a\r\n folded",
        "Transfer-Encoding: chunked",
        "Content-Length: 10",
    ],
)
@pytest.mark.parametrize(
    "before", ["", "Link: </a>", "Transfer-Encoding: gzip", "Content-Length: 5\r\nContent-Length: 7"]
)
async def test_e8_a_101_ends_with_its_head(serve: Serve, field: str, before: str) -> None:
    """As any 1xx, whatever it says of a body (RFC 7230 section 3.3.3); the first frame follows, other fields stay."""

    async def script(peer: Peer) -> None:
        await peer.read_request()
        if before:
            await peer.send(f"HTTP/1.1 103 Early Hints\r\n{before}\r\n\r\n".encode())
        await peer.accept(field, "X-After: 1", then=frame(TEXT, b"first"))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        assert await task.receive() == "first"
        assert task.header["x-after"] == "1"


async def test_e8_what_else_is_no_http_stays_refused(serve: Serve) -> None:
    """Only these two fields mean nothing in a 1xx, and only in a 1xx."""
    for head in (b"HTTP/1.1 101 X\r\nContent-Length: ten\r\nX Y: 1", b"HTTP/1.1 403 X\r\nContent-Length: ten"):
        error = await refused(URL, dial=serve(says(head)))
        assert isinstance(error, HandshakeError)
        assert "is not valid HTTP" in str(error)


async def test_e8_cookies_can_be_told_apart(serve: Serve) -> None:
    """Each Set-Cookie is a value of its own: they cannot be split where they were joined (RFC 7230 section 3.2.2)."""
    cookies = ("a=1; Expires=Wed, 09 Jun 2027 10:18:14 GMT", "b=2; Path=/")

    async def script(peer: Peer) -> None:
        await peer.accept(*(f"Set-Cookie: {cookie}" for cookie in cookies))
        await peer.finish()

    async with connect_socket(URL, dial=serve(script)) as task:
        assert isinstance(task.header, Header)
        assert task.header.get_all("set-cookie") == cookies


@pytest.mark.parametrize(("size", "opens"), [(65_000, True), (66_000, False), (70_000, False)])
@pytest.mark.parametrize("pieces", [1, 50])
async def test_e8_the_limit_of_a_head_is_what_the_page_says(
    serve: Serve, size: int, pieces: int, *, opens: bool
) -> None:
    """However it comes; the frames behind it do not count."""

    async def script(peer: Peer) -> None:
        accept = (await peer.read_request()).decode()
        head = f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nX: "
        data = (head + "y" * (size - len(head) - 4) + "\r\n\r\n").encode() + frame(TEXT, b"z" * 50_000)
        step = -(-len(data) // pieces)
        with suppress(trio.BrokenResourceError, EOFError):
            for start in range(0, len(data), step):
                await peer.send(data[start : start + step])
            await peer.finish()

    if opens:
        async with connect_socket(URL, dial=serve(script)) as task:
            assert await task.receive() == "z" * 50_000
    else:
        assert "a head of more than 65536 bytes" in str(await refused(URL, dial=serve(script)))
