"""`_proxy`: the way through a proxy, and what may go wrong on it."""

from __future__ import annotations

import base64
import logging
import socket
import ssl
import sys
import traceback
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest
import trio
from conftest import ServeTcp
from peer import Peer, Script, echo, reset
from proxies import (
    ESTABLISHED,
    SCRIPTS,
    Seen,
    by_connect,
    by_socks4,
    by_socks5,
    proxy_contexts,
    read_connect,
    read_exactly,
)
from trio.testing import wait_all_tasks_blocked

from trio_socket_task import (
    Attempt,
    ConnectError,
    ConnectOptions,
    ConnectTimeoutError,
    GaveUpError,
    HandshakeError,
    ProxyError,
    Retry,
    SocketTask,
    connect_socket,
    open_resilient_socket,
    open_socket_manager,
    retry_by_evidence,
)

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
SERVER = "ws://server.test/"
SCHEMES = list(SCRIPTS)


def has_ipv6() -> bool:
    """Whether this machine has a loopback address of IPv6."""
    with socket.socket(socket.AF_INET6) as tried:
        try:
            tried.bind(("::1", 0))
        except OSError:
            return False
    return True


HAS_IPV6 = socket.has_ipv6 and has_ipv6()


@pytest.fixture(scope="module")
def tls() -> Contexts:
    """Give the TLS settings of a proxy and of its clients."""
    return proxy_contexts()


@pytest.fixture
def client_and_server(server_context: ssl.SSLContext, client_context: ssl.SSLContext) -> Contexts:
    """Give the TLS settings of a server and of its clients."""
    return server_context, client_context


async def start_proxy(serve_tcp: ServeTcp, script: Script, scheme: str, tls: Contexts) -> ConnectOptions:
    """Start a proxy, and give what a client needs to go through it."""
    if scheme == "https":
        return {"proxy": proxy_url(await serve_tcp(script, tls[0]), scheme), "proxy_ssl_context": tls[1]}
    return {"proxy": proxy_url(await serve_tcp(script), scheme)}


def proxy_url(url: str, scheme: str = "http", userinfo: str = "") -> str:
    """Make the URL of a proxy of what `serve_tcp` gives."""
    return f"{scheme}://{userinfo}{url.partition('://')[2].rstrip('/')}"


def named(url: str) -> str:
    """Let a URL have a name in place of this machine's address, which only the proxy knows."""
    return url.replace("127.0.0.1", "server.test")


async def exchange(task: SocketTask) -> None:
    """Send small and large, and receive it again."""
    for data in ("hello", bytes(300_000), "again"):
        await task.send(data)
        assert await task.receive() == data
    assert await task.ping() >= 0


async def refused(proxy: str, url: str = SERVER, **options: object) -> ProxyError:
    """Fail to connect through a proxy."""
    chosen: ConnectOptions = {"proxy": proxy}
    chosen.update(options)  # type: ignore[typeddict-item]
    with trio.fail_after(30), pytest.raises(ProxyError) as caught:
        async with connect_socket(url, **chosen):
            pass
    assert caught.value.url == url
    return caught.value


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])
async def test_every_kind_of_proxy(
    serve_tcp: ServeTcp, client_and_server: Contexts, tls: Contexts, scheme: str, *, secure: bool
) -> None:
    """Messages of every size come through it both ways, twice encrypted with wss over https."""
    seen = Seen()
    url = await serve_tcp(echo, client_and_server[0] if secure else None)
    options = await start_proxy(serve_tcp, SCRIPTS[scheme](seen), scheme, tls)
    if secure:
        options["ssl_context"] = client_and_server[1]
    with trio.fail_after(60):
        async with connect_socket(url, **options) as task:
            await exchange(task)
            figures = task.statistics()
    assert seen.targets == [("127.0.0.1", int(url.rstrip("/").rpartition(":")[2]))]
    assert figures.proxy_seconds is not None
    assert figures.dial_seconds is not None
    assert (figures.tls_seconds is not None) is secure


async def test_without_a_proxy_there_is_no_time_of_it(serve_tcp: ServeTcp) -> None:
    """The figure is None."""
    async with connect_socket(await serve_tcp(echo)) as task:
        assert task.statistics().proxy_seconds is None


@pytest.mark.parametrize("scheme", ["http", "socks4a", "socks5h"])
async def test_the_proxy_resolves_names(serve_tcp: ServeTcp, scheme: str) -> None:
    """A name that only it knows."""
    seen = Seen()
    url = named(await serve_tcp(echo))
    proxy = proxy_url(await serve_tcp(SCRIPTS[scheme](seen)), scheme)
    async with connect_socket(url, proxy=proxy) as task:
        await exchange(task)
    assert [host for host, _ in seen.targets] == ["server.test"]


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
async def test_this_side_resolves_names(serve_tcp: ServeTcp, scheme: str) -> None:
    """The proxy is given an address; a name that does not resolve here is told."""
    seen = Seen()
    url = (await serve_tcp(echo)).replace("127.0.0.1", "localhost")
    proxy = proxy_url(await serve_tcp(SCRIPTS[scheme](seen)), scheme)
    async with connect_socket(url, proxy=proxy) as task:
        await exchange(task)
    assert [host for host, _ in seen.targets] == ["127.0.0.1"]

    async def welcome(peer: Peer) -> None:
        await peer.send(b"\x05\x00")
        await peer.read_end()

    error = await refused(proxy_url(await serve_tcp(welcome), scheme), "ws://name.invalid/")
    assert isinstance(error.__cause__, socket.gaierror)
    assert "did not connect to name.invalid:80" in str(error)


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_a_server_by_ipv6(serve_tcp: ServeTcp, scheme: str) -> None:
    """Its address is asked for as HTTP and SOCKS write it."""
    seen = Seen()
    url = await serve_tcp(echo, None, "[::1]")
    proxy = proxy_url(await serve_tcp(SCRIPTS[scheme](seen), None, "[::1]"), scheme)
    async with connect_socket(url, proxy=proxy) as task:
        await exchange(task)
    assert [host for host, _ in seen.targets] == ["::1"]
    assert all(head.startswith(b"CONNECT [::1]:") for head in seen.heads)


@pytest.mark.parametrize("scheme", ["socks4", "socks4a"])
async def test_socks4_has_no_ipv6(serve_tcp: ServeTcp, scheme: str) -> None:
    """The sentence names what has."""
    proxy = proxy_url(await serve_tcp(Peer.read_end), scheme)
    assert f"speaks {scheme}, which has no IPv6 addresses; use socks5h" in str(await refused(proxy, "ws://[::1]/"))


async def test_the_request_of_connect(serve_tcp: ServeTcp) -> None:
    """Host and port, whatever the scheme's own is, and who asks (RFC 7617); nothing of the server's request."""
    seen = Seen()
    url = await serve_tcp(echo)
    proxy = proxy_url(await serve_tcp(by_connect(seen)), "http", "us%40er:p%C3%A4ss:w@")
    async with connect_socket(url, proxy=proxy, header={"Authorization": "Bearer secret"}):
        pass
    authority = url[5:-1]
    credentials = base64.b64encode("us@er:päss:w".encode()).decode()
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}", f"Proxy-Authorization: Basic {credentials}"]
    assert seen.heads == ["\r\n".join([*lines, "", ""]).encode()]


async def test_the_port_is_always_named(serve_tcp: ServeTcp) -> None:
    """Also where it is the scheme's own, which a proxy knows nothing of (RFC 7231 section 4.3.6)."""
    seen = Seen()

    async def script(peer: Peer) -> None:
        await read_connect(peer, seen)
        await peer.send(ESTABLISHED)
        await echo(peer)

    async with connect_socket(SERVER, proxy=proxy_url(await serve_tcp(script))):
        pass
    assert seen.heads == [b"CONNECT server.test:80 HTTP/1.1\r\nHost: server.test:80\r\n\r\n"]


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks5"])
async def test_no_secret_of_a_proxy_is_told(serve_tcp: ServeTcp, caplog: pytest.LogCaptureFixture, scheme: str) -> None:
    """Neither in the error, nor in its cause, nor in the log."""
    caplog.set_level(logging.DEBUG)
    proxy = proxy_url(await serve_tcp(lambda peer: peer.stream.aclose()), scheme, "someone:hunter2@")
    with trio.fail_after(30), pytest.raises(GaveUpError) as caught:
        async with open_resilient_socket(SERVER, proxy=proxy, retry=Retry(max_attempts=1)) as client:
            await client.wait_connected()
    assert isinstance(caught.value.__cause__, ProxyError)
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value.attempts) + caplog.text
    assert "hunter2" not in told
    assert "someone" not in told


@pytest.mark.parametrize("scheme", ["socks4", "socks5"])
async def test_user_and_password_of_socks(serve_tcp: ServeTcp, scheme: str) -> None:
    """SOCKS 4 knows a user only."""
    seen, url = Seen(), await serve_tcp(echo)
    script = by_socks4(seen) if scheme == "socks4" else by_socks5(seen, method=2)
    async with connect_socket(url, proxy=proxy_url(await serve_tcp(script), scheme, "user:secret@")):
        pass
    assert seen.users == [("user", "" if scheme == "socks4" else "secret")]


def answering(*parts: bytes, then: Script | None = None) -> Script:
    """Play a proxy that reads a CONNECT and sends raw bytes, each when the one before is read."""

    async def script(peer: Peer) -> None:
        await read_connect(peer, Seen())
        for part in parts:
            await peer.send(part)
            await wait_all_tasks_blocked(0.001)
        if then is not None:
            await then(peer)
        await peer.stream.aclose()

    return script


async def test_a_200_in_pieces_of_one_byte(serve_tcp: ServeTcp) -> None:
    """Its head ends where it ends."""
    answer = b"HTTP/1.0 200 OK\r\nVia: a\r\n\r\n"
    proxy = await serve_tcp(answering(*(bytes([byte]) for byte in answer), then=echo))
    async with connect_socket(SERVER, proxy=proxy_url(proxy)) as task:
        await exchange(task)


@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Content-Length: x"])
async def test_a_200_has_no_body(serve_tcp: ServeTcp, field: bytes) -> None:
    """Whatever it says of one (RFC 7231 section 4.3.6)."""
    proxy = await serve_tcp(answering(b"HTTP/1.1 200 OK\r\n" + field + b"\r\n\r\n", then=echo))
    async with connect_socket(SERVER, proxy=proxy_url(proxy)) as task:
        await exchange(task)


async def test_the_servers_first_bytes_come_with_the_200(serve_tcp: ServeTcp) -> None:
    """They are the beginning of its response."""
    proxy = await serve_tcp(answering(ESTABLISHED + b"HTTP/1.1 10", b"3 Early Hints\r\n\r\n", then=echo))
    async with connect_socket(SERVER, proxy=proxy_url(proxy)) as task:
        await exchange(task)


async def test_an_early_refusal_of_the_server_is_the_servers(serve_tcp: ServeTcp) -> None:
    """It came with the 200, and before the request."""
    proxy = await serve_tcp(answering(ESTABLISHED + b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"))
    with pytest.raises(HandshakeError, match="the server answered 403"):
        async with connect_socket(SERVER, proxy=proxy_url(proxy)):
            pass


async def test_an_early_alert_of_the_server_is_read_by_tls(serve_tcp: ServeTcp) -> None:
    """It came with the 200, and before this side's first record."""
    proxy = await serve_tcp(answering(ESTABLISHED + b"\x15\x03\x03\x00\x02\x02\x28"))
    with pytest.raises(ConnectError, match=r"the TLS handshake failed: .*(?i:handshake.failure)") as caught:
        async with connect_socket("wss://server.test/", proxy=proxy_url(proxy)):
            pass
    assert not isinstance(caught.value, ProxyError)


REFUSALS = [
    (
        [
            b"HTTP/1.1 407 Proxy Authentication Required\r\n",
            b"Proxy-Authenticate: Basic\r\nContent-Length: 9\r\n\r\nwho, you?",
        ],
        (407, b"who, you?", "answered 407 Proxy Authentication Required: who, you?"),
    ),
    (
        [b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwait\r\n", b"0\r\n\r\n"],
        (503, b"wait", "answered 503 Busy: wait"),
    ),
    ([b"HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n"], (302, b"", "answered 302 Found; it points to /login")),
    ([b"HTTP/1.1 101 Odd\r\n\r\n"], (None, b"", "is not valid HTTP")),
    ([b"SSH-2.0-x\r\n"], (None, b"", "is not valid HTTP: b'SSH-2.0-x")),
    ([], (None, b"", "closed the connection without an answer")),
    ([b"HTTP/1.1 200 O"], (None, b"", "closed the connection without an answer")),
]


@pytest.mark.parametrize(("parts", "expected"), REFUSALS)
async def test_a_refusal_is_told(
    serve_tcp: ServeTcp, parts: list[bytes], expected: tuple[int | None, bytes, str]
) -> None:
    """Status, fields and body, and who it is that refused."""
    proxy = await serve_tcp(answering(*parts))
    error = await refused(proxy_url(proxy))
    assert (error.status_code, error.body) == expected[:2]
    assert expected[2] in str(error)
    assert f"the proxy {proxy[5:-1]}" in str(error)


async def test_a_refusal_that_repeats_who_asked(serve_tcp: ServeTcp) -> None:
    """User, password and what is made of them stand in the error's body only."""
    credentials = base64.b64encode(b"Aladdin:open/sesame").decode()
    body = f"not Proxy-Authorization: Basic {credentials}, which is Aladdin with open/sesame".encode()
    proxy = await serve_tcp(answering(b"HTTP/1.1 407 No Aladdin\r\nContent-Type: text/plain\r\n\r\n" + body))
    error = await refused(proxy_url(proxy, userinfo="Aladdin:open%2Fsesame@"))
    assert str(error).endswith("answered 407 No ***: not Proxy-Authorization: ***, which is *** with ***")
    assert error.body == body


async def test_an_endless_head_is_cut(serve_tcp: ServeTcp) -> None:
    """At 64 KiB."""

    async def script(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 200 OK\r\n")
        with pytest.raises(trio.BrokenResourceError):
            while True:
                await peer.send(b"X: y\r\n" * 1000)

    assert "has a head of more than 65536 bytes" in str(await refused(proxy_url(await serve_tcp(script))))


@pytest.mark.parametrize("scheme", ["http", "https", "socks4", "socks5"])
@pytest.mark.parametrize("end", [reset, trio.aclose_forcefully])
async def test_a_proxy_that_goes(
    serve_tcp: ServeTcp, scheme: str, end: Callable[[trio.abc.Stream], Awaitable[None]]
) -> None:
    """In the middle of what it is asked, by RST or by FIN."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive_some(1)
        await end(peer.stream)

    error = await refused(proxy_url(await serve_tcp(script), scheme))
    assert error.status_code is None
    assert "the proxy 127.0.0.1:" in str(error)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_nobody_listens(scheme: str) -> None:
    """The proxy cannot be reached, and it is not the server's fault."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        peer = f"127.0.0.1:{unused.getsockname()[1]}"
        error = await refused(f"{scheme}://{peer}")
    assert f"the proxy {peer} cannot be reached" in str(error)
    assert isinstance(error.__cause__, OSError)
    assert retry_by_evidence(Attempt(url=SERVER, error=error), 1)


@pytest.mark.parametrize(
    ("scheme", "first", "phase"),
    [
        ("http", b"", "to connect to 192.0.2.1:80"),
        ("http", b"HTTP/1.1 200", "waiting for the rest of the response of the proxy"),
        ("https", b"", "to finish the TLS handshake"),
        ("socks4", b"", "to connect to 192.0.2.1:80"),
        ("socks5", b"", "to connect to 192.0.2.1:80"),
        ("socks5", b"\x05\x00\x05", "to connect to 192.0.2.1:80"),
    ],
)
async def test_a_silent_proxy(serve_tcp: ServeTcp, scheme: str, first: bytes, phase: str) -> None:
    """The deadline is the opening's, and its error names who was waited for."""

    async def script(peer: Peer) -> None:
        await peer.send(first)
        await peer.read_end()

    proxy = await serve_tcp(script)
    with pytest.raises(ConnectTimeoutError) as caught:
        async with connect_socket("ws://192.0.2.1/", proxy=proxy_url(proxy, scheme), timeout=0.3):
            pass
    assert phase in caught.value.phase
    assert f"the proxy {proxy[5:-1]}" in caught.value.phase


async def test_plain_http_to_a_proxy_that_speaks_tls(serve_tcp: ServeTcp, tls: Contexts) -> None:
    """What it answers is no HTTP."""

    async def script(peer: Peer) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(peer.stream, tls[0], server_side=True).do_handshake()
        await peer.stream.aclose()

    error = await refused(proxy_url(await serve_tcp(script)))
    assert "the proxy 127.0.0.1:" in str(error)


async def test_tls_to_a_proxy_that_speaks_plain_http(serve_tcp: ServeTcp) -> None:
    """OpenSSL says what came."""

    async def script(peer: Peer) -> None:
        await peer.stream.receive_some()
        await peer.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await peer.read_end()

    error = await refused(proxy_url(await serve_tcp(script), "https"))
    assert "the TLS handshake with the proxy 127.0.0.1:" in str(error)
    assert isinstance(error.__cause__, ssl.SSLError)


async def handshake_fails(peer: Peer) -> None:
    """Play a server whose TLS the client refuses."""
    with pytest.raises(trio.BrokenResourceError):
        await peer.stream.receive_some()


async def test_a_certificate_of_the_proxy_that_is_not_trusted(serve_tcp: ServeTcp, tls: Contexts) -> None:
    """It is the proxy's, and the server's context does not help."""
    proxy = proxy_url(await serve_tcp(handshake_fails, tls[0]), "https")
    error = await refused(proxy, "wss://server.test/", ssl_context=tls[1])
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    assert "the TLS handshake with the proxy 127.0.0.1:" in str(error)
    assert not retry_by_evidence(Attempt(url=SERVER, error=error), 1)


async def test_a_certificate_of_the_server_that_is_not_trusted(
    serve_tcp: ServeTcp, server_context: ssl.SSLContext, tls: Contexts
) -> None:
    """It is the server's, behind a proxy that is trusted."""
    url = await serve_tcp(handshake_fails, server_context)
    proxy = proxy_url(await serve_tcp(by_connect(Seen()), tls[0]), "https")
    with pytest.raises(ConnectError, match=r"the TLS handshake failed: ") as caught:
        async with connect_socket(url, proxy=proxy, proxy_ssl_context=tls[1]):
            pass
    assert not isinstance(caught.value, ProxyError)
    assert isinstance(caught.value.__cause__, ssl.SSLCertVerificationError)


SOCKS5_REPLIES = {
    1: "General SOCKS server failure",
    2: "Connection not allowed by ruleset",
    3: "Network unreachable",
    4: "Host unreachable",
    5: "Connection refused",
    6: "TTL expired",
    7: "Command not supported",
    8: "Address type not supported",
    9: "Invalid reply code",
}
SOCKS4_REPLIES = {0x5B: "Request rejected or failed", 0x5C: "identd", 0x5D: "user-ids", 0x5E: "Invalid reply code"}


@pytest.mark.parametrize(("reply", "words"), SOCKS5_REPLIES.items())
async def test_every_reply_of_socks5(serve_tcp: ServeTcp, reply: int, words: str) -> None:
    """In words (RFC 1928 section 6)."""
    error = await refused(proxy_url(await serve_tcp(by_socks5(Seen(), reply)), "socks5h"))
    assert f"did not connect to server.test:80: {words}" in str(error)


@pytest.mark.parametrize(("reply", "words"), SOCKS4_REPLIES.items())
async def test_every_reply_of_socks4(serve_tcp: ServeTcp, reply: int, words: str) -> None:
    """In words."""
    assert words in str(await refused(proxy_url(await serve_tcp(by_socks4(Seen(), reply)), "socks4a")))


@pytest.mark.parametrize(
    ("method", "granted", "words"),
    [(2, 1, "authentication failure"), (0xFF, 0, "No acceptable"), (1, 0, "Unexpected"), (9, 0, "Invalid")],
)
async def test_socks5_that_does_not_let_one_in(serve_tcp: ServeTcp, method: int, granted: int, words: str) -> None:
    """And the password is not told."""
    script = by_socks5(Seen(), method=method, granted=granted)
    error = await refused(proxy_url(await serve_tcp(script), "socks5h", "user:secret@"))
    assert words in str(error)
    assert "secret" not in str(error)


async def test_http_in_place_of_socks(serve_tcp: ServeTcp) -> None:
    """The version is none."""
    proxy = await serve_tcp(answering_anything)
    assert "version" in str(await refused(proxy_url(proxy, "socks5h")))


async def answering_anything(peer: Peer) -> None:
    """Play a proxy of another kind."""
    await read_exactly(peer, 3)
    await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_python_socks_is_missing(serve_tcp: ServeTcp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence has the command that installs it, and no other attempt is made."""
    monkeypatch.setitem(sys.modules, "trio_socket_task._stream._socks", None)
    error = await refused(proxy_url(await serve_tcp(Peer.read_end), "socks5"))
    assert 'pip install "trio-socket-task[socks]"' in str(error)
    assert not retry_by_evidence(Attempt(url=SERVER, error=error), 1)


@pytest.mark.parametrize("scheme", SCHEMES)
async def test_cancelled_at_every_step(
    serve_tcp: ServeTcp,
    client_and_server: Contexts,
    tls: Contexts,
    scheme: str,
) -> None:
    """Nothing is left open, wherever it is called off."""
    ended: list[trio.Event] = []

    def watched(script: Script) -> Script:
        async def watch(peer: Peer) -> None:
            ended.append(trio.Event())
            event = ended[-1]
            with suppress(EOFError, AssertionError, trio.BrokenResourceError, OSError, ExceptionGroup):
                await script(peer)
            await trio.aclose_forcefully(peer.stream)
            event.set()

        return watch

    url = await serve_tcp(watched(echo), client_and_server[0])
    options = await start_proxy(serve_tcp, watched(SCRIPTS[scheme](Seen())), scheme, tls)
    options["ssl_context"] = client_and_server[1]
    opened = False
    steps = 0
    with trio.fail_after(60):
        while not opened:
            steps += 1
            with trio.CancelScope() as scope:
                trio.lowlevel.add_instrument(countdown := Countdown(scope, steps))
                try:
                    async with connect_socket(url, **options):
                        opened = True
                finally:
                    trio.lowlevel.remove_instrument(countdown)
        for event in ended:
            await event.wait()
    assert steps > 5


class Countdown(trio.abc.Instrument):
    """Cancels after so many steps of this socket's task."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._left = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name.startswith("trio_socket_task."):
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


async def test_a_target_chooses_a_proxy_for_each_attempt(serve_tcp: ServeTcp) -> None:
    """Over that of the socket's own options."""
    seen, url = Seen(), await serve_tcp(echo)
    proxies = [proxy_url(await serve_tcp(answering(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")))]
    proxies.append(proxy_url(await serve_tcp(by_connect(seen))))

    async def target() -> tuple[str, ConnectOptions]:
        await trio.lowlevel.checkpoint()
        return url, {"proxy": proxies.pop(0)}

    with trio.fail_after(60):
        async with open_resilient_socket(target, dial=trio.open_tcp_stream) as client:
            await client.wait_connected()
    assert not proxies
    assert len(seen.targets) == 1


async def test_a_proxy_of_a_manager(serve_tcp: ServeTcp) -> None:
    """A socket's own way replaces it."""
    seen, url = Seen(), await serve_tcp(echo)
    async with open_socket_manager(proxy=proxy_url(await serve_tcp(by_connect(seen)))) as manager:
        await manager.connect_socket(url).wait_open()
        await manager.connect_socket(url, proxy=None).wait_open()
        await manager.connect_socket(url, dial=trio.open_tcp_stream).wait_open()
    assert len(seen.targets) == 1
