"""`_proxy_url`: the URL of a proxy, and the option `proxy`."""

from __future__ import annotations

import ssl

import pytest

from trio_socket_task import ConnectOptions, InvalidOptionsError
from trio_socket_task._options import check_options, with_defaults
from trio_socket_task._proxy_url import Proxy, parse_proxy
from trio_socket_task._url import check_url

ADDRESS = check_url("ws://server.test/")
CONTEXT = ssl.create_default_context()


@pytest.mark.parametrize(
    ("url", "scheme", "peer", "user", "password"),
    [
        ("http://proxy", "http", "proxy:80", None, None),
        ("http://proxy:3128/", "http", "proxy:3128", None, None),
        ("HTTPS://Proxy.Example", "https", "proxy.example:443", None, None),
        ("socks4://proxy", "socks4", "proxy:1080", None, None),
        ("socks4a://user@proxy", "socks4a", "proxy:1080", "user", None),
        ("socks4a://user:ignored@proxy", "socks4a", "proxy:1080", "user", "ignored"),
        ("socks5://u:p@[::1]:9050", "socks5", "[::1]:9050", "u", "p"),
        ("socks5h://bücher.example", "socks5h", "xn--bcher-kva.example:1080", None, None),
        ("http://u%40x:p%3Ass%2F@proxy", "http", "proxy:80", "u@x", "p:ss/"),
        ("http://user:@proxy", "http", "proxy:80", "user", ""),
        ("https://us%C3%A9r:p@proxy.", "https", "proxy.:443", "usér", "p"),
    ],
)
def test_a_url_is_taken_apart(url: str, scheme: str, peer: str, user: str | None, password: str | None) -> None:
    """Scheme, host, port with a default, and who asks."""
    proxy = parse_proxy(url)
    assert (proxy.scheme, proxy.peer, proxy.user, proxy.password) == (scheme, peer, user, password)
    assert not proxy.server_name.endswith(".")
    assert "Proxy object" in repr(proxy), "which shows no password"


@pytest.mark.parametrize(
    ("url", "rule"),
    [
        ("", "must start with one of http://, https://, socks4://"),
        ("proxy:3128", "must start with one of"),
        ("http:proxy", "must start with one of"),
        ("ftp://u:secret@proxy", "must start with one of"),
        ("socks://proxy", "must start with one of"),
        ("ws://proxy", "must start with one of"),
        ("http://u:secret@proxy/path", "must have neither path nor query nor fragment"),
        ("http://u:secret@proxy?x", "must have neither path nor query nor fragment"),
        ("http://u:secret@proxy#x", "must have neither path nor query nor fragment"),
        ("http://u:secret#x@proxy", "must have neither path nor query nor fragment"),
        ("http://", "must have a host"),
        ("http://u:secret@", "must have a host"),
        ("http://a b", "must not contain white space"),
        ("http://[::1", "must be well-formed"),
        ("http://[x]", "must be well-formed|must have a valid IPv6 address"),
        ("http://a..b", "must have a valid host name"),
        ("http://u:secret@proxy:0", "must have a port from 1 to 65535"),
        ("http://u:secret@proxy:70000", "must have a port from 1 to 65535"),
        ("http://u:secret@proxy:x", "must have a port from 1 to 65535"),
        ("http://secret@proxy", "must have both a user and a password"),
        ("http://:secret@proxy", "must have both a user and a password"),
        ("socks5://secret@proxy", "must have both a user and a password"),
        ("socks4://:secret@proxy", "must have both a user and a password"),
        ("http://@proxy", "must have both a user and a password"),
        ("http://u:secret%0A@proxy", "must not have control characters"),
        ("http://u:secret%FF@proxy", "must have %-codes of UTF-8"),
        ("http://u%3A:secret@proxy", "must have no colon in its user"),
        ("socks5://u:secr%C3%A9t@proxy", "1 to 255 ASCII characters"),
        ("socks5://user:@proxy", "1 to 255 ASCII characters"),
        (f"socks5://u:{'secret' * 50}@proxy", "1 to 255 ASCII characters"),
        (f"socks4://{'secret' * 50}@proxy", "1 to 255 ASCII characters"),
    ],
)
def test_what_is_none_is_refused_before_any_io(url: str, rule: str) -> None:
    """The sentence says the rule, and no secret."""
    with pytest.raises(InvalidOptionsError, match=rule) as caught:
        check_options(ADDRESS, {"proxy": url})
    assert caught.value.argument == "proxy"
    assert "secr" not in str(caught.value)
    assert "secr" not in repr(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("proxy", [False, 1, b"http://proxy", ["http://proxy"]])
def test_what_is_no_url(proxy: object) -> None:
    """Only a str, True and None are."""
    options: ConnectOptions = {"proxy": proxy}  # type: ignore[typeddict-item]
    with pytest.raises(InvalidOptionsError, match="must be a URL, True for the environment's proxy, or None for none"):
        check_options(ADDRESS, options)


async def dial(_host: str, _port: int) -> None:
    """Go another way."""


@pytest.mark.parametrize("proxy", [True, None])
def test_dial_needs_no_proxy(proxy: object) -> None:
    """A URL contradicts it; nothing else does."""
    options: ConnectOptions = {"proxy": proxy, "dial": dial}  # type: ignore[typeddict-item]
    assert check_options(ADDRESS, options).proxy is proxy
    with pytest.raises(InvalidOptionsError, match="must not be given together with dial"):
        check_options(ADDRESS, {**options, "proxy": "http://proxy"})


def test_the_context_is_for_https() -> None:
    """Or for what the environment names; elsewhere it would promise what does not happen."""
    for proxy in ("https://proxy", True, None):
        options: ConnectOptions = {"proxy": proxy, "proxy_ssl_context": CONTEXT}
        assert check_options(ADDRESS, options).proxy_ssl_context is CONTEXT
    with pytest.raises(InvalidOptionsError, match="must be None for a proxy that speaks socks5"):
        check_options(ADDRESS, {"proxy": "socks5://proxy", "proxy_ssl_context": CONTEXT})
    with pytest.raises(InvalidOptionsError, match="must be a client's"):
        check_options(ADDRESS, {"proxy_ssl_context": ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)})
    with pytest.raises(InvalidOptionsError, match=r"must be an ssl\.SSLContext"):
        check_options(ADDRESS, {"proxy_ssl_context": "x"})  # type: ignore[typeddict-item]


@pytest.mark.parametrize(
    ("defaults", "own", "expected"),
    [
        ({"proxy": "http://a"}, {}, {"proxy": "http://a"}),
        ({"proxy": "http://a"}, {"proxy": "http://b"}, {"proxy": "http://b"}),
        ({"proxy": "http://a"}, {"proxy": None}, {"proxy": None}),
        ({"proxy": "http://a"}, {"dial": dial}, {"dial": dial}),
        ({"proxy": "http://a"}, {"dial": None}, {"proxy": "http://a", "dial": None}),
        ({"dial": dial}, {"proxy": "http://b"}, {"proxy": "http://b"}),
        ({"dial": dial}, {"proxy": True}, {"proxy": True, "dial": dial}),
        ({"dial": dial}, {"proxy": None}, {"proxy": None, "dial": dial}),
        ({"proxy_ssl_context": CONTEXT}, {"proxy": "http://b"}, {"proxy": "http://b"}),
        (
            {"proxy_ssl_context": CONTEXT},
            {"proxy": "HTTPS://b"},
            {"proxy": "HTTPS://b", "proxy_ssl_context": CONTEXT},
        ),
    ],
)
def test_a_way_of_its_own_replaces_the_defaults(
    defaults: ConnectOptions, own: ConnectOptions, expected: ConnectOptions
) -> None:
    """Where both together would contradict each other."""
    assert with_defaults(defaults, own) == expected


def test_none_is_told_apart_from_a_proxy() -> None:
    """The checked options have what is chosen."""
    assert check_options(ADDRESS, {}).proxy is True
    assert isinstance(check_options(ADDRESS, {"proxy": "http://proxy"}).proxy, Proxy)
