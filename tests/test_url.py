"""`_url`: what is a URL for a socket."""

from __future__ import annotations

from typing import cast

import pytest

from trio_socket_task import InvalidOptionsError
from trio_socket_task._url import check_url


@pytest.mark.parametrize(
    ("url", "secure", "host", "port", "host_header", "target"),
    [
        ("ws://example.org", False, "example.org", 80, "example.org", "/"),
        ("wss://example.org", True, "example.org", 443, "example.org", "/"),
        ("WSS://Example.ORG/Chat", True, "example.org", 443, "example.org", "/Chat"),
        ("ws://example.org:443/", False, "example.org", 443, "example.org:443", "/"),  # hazard O9
        ("wss://example.org:80/", True, "example.org", 80, "example.org:80", "/"),
        ("ws://[::1]:8000/", False, "::1", 8000, "[::1]:8000", "/"),
        ("ws://[::1]/", False, "::1", 80, "[::1]", "/"),
        ("ws://127.0.0.1:8000", False, "127.0.0.1", 8000, "127.0.0.1:8000", "/"),
        ("ws://a?", False, "a", 80, "a", "/?"),
        ("ws://a/b;c?d=e&f=%20", False, "a", 80, "a", "/b;c?d=e&f=%20"),
        ("ws://a/房间?名=值", False, "a", 80, "a", "/%E6%88%BF%E9%97%B4?%E5%90%8D=%E5%80%BC"),
        ("ws://bücher.example/", False, "xn--bcher-kva.example", 80, "xn--bcher-kva.example", "/"),
        ("wss://faß.de", True, "xn--fa-hia.de", 443, "xn--fa-hia.de", "/"),
        ("ws://under_score.example.", False, "under_score.example.", 80, "under_score.example.", "/"),
    ],
)
def test_url_is_taken_apart(  # noqa: PLR0913 (a table's columns)
    *, url: str, secure: bool, host: str, port: int, host_header: str, target: str
) -> None:
    """Scheme, host, port, Host field and request target."""
    address = check_url(url)
    assert (address.url, address.secure, address.host, address.port) == (url, secure, host, port)
    assert (address.host_header, address.target) == (host_header, target)


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        (None, "must be a str"),
        (b"ws://a/", "must be a str"),
        ("", "must be absolute"),
        ("test.php", "must be absolute"),
        ("//example.org/", "must be absolute"),
        ("http://example.org/", "must be absolute"),
        ("ws:///path", "must have a host"),
        ("ws://:80/", "must have a host"),
        ("ws://a/#part", "must not have a fragment"),
        ("ws://a/#", "must not have a fragment"),
        ("ws://user:pw@a/", "must not have userinfo"),
        ("ws://@a/", "must not have userinfo"),
        (" ws://a/", "must not contain white space"),
        ("ws://a/b c", "must not contain white space"),
        ("ws://a/b\r\nX: y", "must not contain white space"),
        ("ws://a/\x7f", "must not contain white space"),
        ("ws://a/\u3000", "must not contain white space"),
        ("ws://a/\ud800", "must not contain lone surrogates"),
        ("ws://a:99999/", "must have a port"),
        ("ws://a:x/", "must have a port"),
        ("ws://a:0/", "must have a port from 1 to 65535"),
        ("ws://[::1/", "must be well-formed"),
        ("ws://[fe80::1%25eth0]/", "must have a"),
        ("ws://[fe80::1%eth0]/", "must have an IPv6 address without a zone"),
        ("ws://a..b/", "must have a valid host name"),
        ("ws://a%20b/", "must have a valid host name"),
        (f"ws://{'a' * 64}/", "must have a valid host name"),
        (f"ws://{'a.' * 127}a/", "must have a valid host name"),
        ("ws://ü\u0301\u2488.example/", "must"),
        ("ws://xn--ü/", "must have a valid international host name"),
    ],
)
def test_url_is_refused(url: object, rule: str) -> None:
    """Each refusal names the argument, the value and the rule."""
    with pytest.raises(InvalidOptionsError) as caught:
        check_url(cast("str", url))
    assert caught.value.argument == "url"
    assert caught.value.value == url
    assert caught.value.rule.startswith(rule)


def test_bad_ipv6_is_refused() -> None:
    """Brackets hold an IPv6 address and nothing else."""
    for url in ("ws://[::zz]/", "ws://[v1.fe]/"):
        with pytest.raises(InvalidOptionsError, match="must"):
            check_url(url)
