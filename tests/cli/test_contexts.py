"""`_contexts`: certificates by the arguments, against a server that asks for one."""

from __future__ import annotations

import ssl
from pathlib import Path

import attrs
import pytest
import trustme
from cli.command import run
from conftest import ServeTcp
from peer import Peer, echo

from trio_socket_task import InvalidOptionsError
from trio_socket_task._cli._contexts import make_context
from trio_socket_task._cli._parser import main


@attrs.frozen
class Files:
    """Certificates in PEM."""

    authority: str
    both: str
    cert: str
    key: str
    server: ssl.SSLContext
    """Asks for a certificate of that authority."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Make an authority, and what it has issued."""
    folder: Path = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    client = authority.issue_cert("client@example.org")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    authority.configure_trust(server)
    server.verify_mode = ssl.CERT_REQUIRED
    names = {name: str(folder / f"{name}.pem") for name in ("authority", "both", "cert", "key")}
    authority.cert_pem.write_to_path(names["authority"])
    client.private_key_and_cert_chain_pem.write_to_path(names["both"])
    client.cert_chain_pems[0].write_to_path(names["cert"])
    client.private_key_pem.write_to_path(names["key"])
    return Files(server=server, **names)


async def answer(peer: Peer) -> None:
    """Echo, unless the client has no certificate."""
    try:
        await echo(peer)
    except Exception:  # noqa: BLE001 (TLS has failed, which the client tells)
        await peer.stream.aclose()


async def test_an_authority_and_a_certificate(files: Files, serve_tcp: ServeTcp) -> None:
    """In one file or in two."""
    url = await serve_tcp(answer, files.server)
    for arguments in (["--cert", files.both], ["--cert", files.cert, "--key", files.key]):
        done = await run("connect", "--cafile", files.authority, *arguments, url, lines=b"hello\n")
        assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    done = await run("connect", "--insecure", "--cert", files.both, url, lines=b"hello\n")
    assert (done.returncode, done.stdout) == (0, b"hello\n"), done.stderr
    done = await run("connect", "--cert", files.both, url, lines=b"hello\n")
    assert b"certificate verify failed" in done.stderr


def test_contexts_where_they_are_needed(files: Files) -> None:
    """Else None, so that the usual one is used."""
    none = {"cafile": None, "cert": None, "key": None}
    assert make_context(secure=True, insecure=False, **none) is None
    assert make_context(secure=False, insecure=True, **none) is None
    context = make_context(secure=True, insecure=False, cafile=files.authority, cert=None, key=None)
    assert context is not None
    assert (context.verify_mode, context.check_hostname, len(context.get_ca_certs())) == (ssl.CERT_REQUIRED, True, 1)
    with pytest.raises(InvalidOptionsError, match="--key must come with --cert"):
        make_context(secure=True, insecure=False, cafile=None, cert=None, key=files.key)


@pytest.mark.parametrize("option", ["--cafile", "--cert", "--key"])
def test_a_file_for_a_url_without_tls(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It would promise what does not happen."""
    assert main(["connect", option, "a.pem", "ws://127.0.0.1:1/"]) == 2
    assert f"{option} must be left out for a ws URL, which has no TLS" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "rule"),
    [
        ("--cafile", "must be a PEM file of certificate authorities"),
        ("--cert", "must be a PEM file with a certificate"),
    ],
)
def test_a_file_that_is_none(tmp_path: Path, option: str, rule: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither what is not there, nor what has something else in it."""
    other = tmp_path / "other.pem"
    other.write_text("nothing\n", encoding="utf-8")
    for path in (other, tmp_path / "nowhere.pem"):
        assert main(["probe", option, str(path), "wss://127.0.0.1:1/"]) == 2
        assert f"{option} {rule}" in capsys.readouterr().err
