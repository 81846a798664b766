"""`--proxy`: the ways that the command line takes."""

from __future__ import annotations

import ssl
from contextlib import suppress
from pathlib import Path

import pytest
import trio
import trustme
from cli.command import run
from conftest import ServeTcp
from peer import Peer, echo
from proxies import Seen, by_connect, by_socks5, proxy_contexts

from trio_socket_task.testing import SocketServer, open_test_server


def proxy_url(url: str, scheme: str = "http") -> str:
    """Make the URL of a proxy of what `serve_tcp` gives."""
    return f"{scheme}://{url.partition('://')[2].rstrip('/')}"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_connect_goes_through_a_proxy(socket_server: SocketServer, serve_tcp: ServeTcp, scheme: str) -> None:
    """One with TLS is trusted with `--insecure`, as a server is."""
    seen = Seen()
    proxy = await serve_tcp(by_connect(seen), proxy_contexts()[0] if scheme == "https" else None)
    arguments = ["--insecure"] if scheme == "https" else []
    done = await run("connect", *arguments, "--proxy", proxy_url(proxy, scheme), socket_server.url, lines=b"hello\n")
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    assert len(seen.targets) == 1


@pytest.mark.parametrize("tls", [False, True])
async def test_an_authority_of_ones_own(serve_tcp: ServeTcp, tmp_path: Path, *, tls: bool) -> None:
    """Is trusted at the proxy and at the server, where that has TLS; another is not."""
    files = []
    for name in ("own.pem", "other.pem"):
        authority, file = trustme.CA(), tmp_path / name
        authority.cert_pem.write_to_path(str(file))
        files.append((authority, str(file)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    files[0][0].issue_cert("127.0.0.1").configure_cert(context)

    async def by_tls(peer: Peer) -> None:
        with suppress(trio.BrokenResourceError):  # of a client that does not trust it
            await by_connect(Seen())(peer)

    proxy = proxy_url(await serve_tcp(by_tls, context), "https")
    url = await serve_tcp(echo, context if tls else None)
    done = await run("connect", "--cafile", files[0][1], "--proxy", proxy, url, lines=b"hello\n")
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    done = await run("connect", "--cafile", files[1][1], "--proxy", proxy, url, lines=b"hello\n")
    assert b"the TLS handshake with the proxy" in done.stderr


async def test_none_is_no_proxy(socket_server: SocketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setattr("trio_socket_task._stream._environment.is_loopback", lambda _host: False)
    done = await run("connect", "--listen", "--timeout", "5", socket_server.url)
    assert b"the proxy 127.0.0.1:1 cannot be reached" in done.stderr
    done = await run("connect", "--proxy", "none", "--insecure", socket_server.url, lines=b"hello\n")
    assert (done.returncode, done.stdout) == (0, b"hello\n")


@pytest.mark.parametrize("tls", [False, True])
async def test_probe_shows_the_proxys_part(serve_tcp: ServeTcp, *, tls: bool) -> None:
    """And no resolution of a name that the proxy resolves."""
    proxy = proxy_url(await serve_tcp(by_socks5(Seen())), "socks5h")
    async with open_test_server(tls=tls) as server:
        url = server.url.replace("127.0.0.1", "server.test").replace("localhost", "server.test")
        done = await run("probe", "--insecure", "--proxy", proxy, url)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0
    rows = [line.split()[0] for line in lines if " ms " in line or line.endswith(" ms")]
    assert rows == ["TCP", "proxy", *(["TLS"] if tls else []), "handshake", "round", "close"]
    assert proxy.partition("://")[2] in lines[1]


@pytest.mark.parametrize(
    ("proxy", "text"),
    [
        ("ftp://user:secret@proxy", "--proxy must start with one of"),
        ("http://user:secret@proxy:0", "--proxy must have a port from 1 to 65535, not 'http://***@proxy:0'"),
    ],
)
@pytest.mark.parametrize("command", ["connect", "probe"])
async def test_a_wrong_proxy_is_a_wrong_argument(command: str, proxy: str, text: str) -> None:
    """And no secret of it is shown."""
    await trio.lowlevel.checkpoint()
    done = await run(command, "--proxy", proxy, "ws://server.test/")
    assert done.returncode == 2
    assert text in done.stderr.decode()
    assert "secret" not in done.stderr.decode()
