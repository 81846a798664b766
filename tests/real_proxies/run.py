"""Go through real proxies: ws and wss through each, who asks, and what they refuse.

Of PyPI, proxy.py and pproxy; of the machine, tinyproxy and microsocks where they are installed.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import final

import attrs
import trio
import trustme

from trio_socket_task import ConnectError, ConnectOptions, connect_socket
from trio_socket_task.testing import SocketServer, echo, open_test_server

USER = "user:pass@"


@final
@attrs.frozen(kw_only=True)
class Kind:
    """A proxy: how it is started on PORT, and which URLs lead through it."""

    name: str
    command: Sequence[str]
    schemes: Sequence[str]
    wants_user: bool = False
    files: dict[str, str] = attrs.field(factory=dict)


def kinds(folder: Path) -> list[Kind]:
    """Give the proxies that are at hand."""
    python, proxy_py = (
        sys.executable,
        ("-m", "proxy", "--hostname", "127.0.0.1", "--port", "PORT", "--num-workers", "1"),
    )
    tls = ("--cert-file", str(folder / "cert.pem"), "--key-file", str(folder / "key.pem"))
    pproxy, listen = ("-m", "pproxy", "-l"), "http+socks4+socks5://127.0.0.1:PORT"
    found = [
        Kind(name="proxy.py", command=(python, *proxy_py), schemes=["http"]),
        Kind(name="proxy.py, TLS", command=(python, *proxy_py, *tls), schemes=["https"]),
        Kind(
            name="proxy.py, Basic",
            command=(python, *proxy_py, "--basic-auth", "user:pass"),
            schemes=["http"],
            wants_user=True,
        ),
        Kind(
            name="pproxy",
            command=(python, *pproxy, listen),
            schemes=["http", "socks4", "socks5", "socks5h"],  # it knows no 4a
        ),
        Kind(
            name="pproxy, user",
            command=(python, *pproxy, f"{listen}#user:pass", "--auth", "0"),  # else it remembers who was let in
            schemes=["http", "socks5", "socks5h"],
            wants_user=True,
        ),
    ]
    if tinyproxy := shutil.which("tinyproxy"):
        config = folder / "tinyproxy.conf"
        text = "Port PORT\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\n"
        found.append(
            Kind(
                name="tinyproxy",
                command=(tinyproxy, "-d", "-c", str(config)),
                schemes=["http"],
                files={str(config): text},
            )
        )
    if microsocks := shutil.which("microsocks"):
        command, schemes = [microsocks, "-i", "127.0.0.1", "-p", "PORT"], ["socks5", "socks5h"]
        found.append(Kind(name="microsocks", command=command, schemes=schemes))
        command = [*command, "-u", "user", "-P", "pass"]
        found.append(Kind(name="microsocks, user", command=command, schemes=schemes, wants_user=True))
    return found


@asynccontextmanager
async def running(kind: Kind) -> AsyncIterator[int]:
    """Run a proxy, and give its port once it listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for path, text in kind.files.items():
        await trio.Path(path).write_text(text.replace("PORT", str(port)), encoding="utf-8")
    command = [part.replace("PORT", str(port)) for part in kind.command]
    async with trio.open_nursery() as nursery:
        quiet = partial(trio.run_process, command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        nursery.start_soon(quiet)
        with trio.fail_after(30):
            while True:
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.05)
        yield port
        nursery.cancel_scope.cancel()


async def converse(server: SocketServer, options: ConnectOptions) -> None:
    """Send small and large, receive it again, and close."""
    url = server.url.replace("127.0.0.1", "localhost")
    if server.ssl_context is not None:
        options = {**options, "ssl_context": server.ssl_context}
    async with connect_socket(url, **options) as task:
        for data in ("hello", bytes(2**20), "again"):
            await task.send(data)
            assert await task.receive() == data
        await task.ping()
    assert task.close_event is not None
    assert task.close_event.code == 1000


async def refuse(url: str, options: ConnectOptions) -> str:
    """Be refused, and give the words."""
    try:
        async with connect_socket(url, **options):
            return "NOT REFUSED"
    except ConnectError as error:  # some proxies agree before they have reached the server
        return f"{type(error).__name__}: {error.why}"


async def main() -> int:
    """Try everything, print what happened, and return how much failed."""
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        folder, authority, context = Path(name), trustme.CA(), ssl.create_default_context()
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        certificate.private_key_pem.write_to_path(folder / "key.pem")
        certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
        authority.configure_trust(context)
        async with open_test_server(echo) as plain, open_test_server(echo, tls=True) as secure:
            for kind in kinds(folder):
                async with running(kind) as port:
                    for scheme in kind.schemes:
                        trusted: ConnectOptions = {"proxy_ssl_context": context} if scheme == "https" else {}
                        proxy = f"{scheme}://{USER if kind.wants_user else ''}127.0.0.1:{port}"
                        for server in (plain, secure):
                            label = f"{kind.name:18} {scheme:8} {server.url.partition(':')[0]:4}"
                            try:
                                with trio.fail_after(30):
                                    await converse(server, {"proxy": proxy, **trusted})
                                print(f"{label} ok")
                            except Exception as error:  # noqa: BLE001 (it is counted)
                                failures += 1
                                print(f"{label} FAILED: {type(error).__name__}: {error}")
                        with trio.move_on_after(30):
                            nobody = await refuse("ws://127.0.0.1:1/", {"proxy": proxy, **trusted})
                            print(f"{kind.name:18} {scheme:8} nobody listens: {nobody}")
                        if kind.wants_user:
                            wrong = proxy.replace("pass@", "wrong@")
                            with trio.fail_after(30):
                                said = await refuse(plain.url, {"proxy": wrong, **trusted})
                            failures += not said.startswith("ProxyError")
                            print(f"{kind.name:18} {scheme:8} wrong password: {said}")
    print(f"{failures} failed")
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(trio.run(main))
