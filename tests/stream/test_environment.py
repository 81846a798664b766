"""`_environment`: which proxy it is, by the environment's rules."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib import request

import pytest

from trio_socket_task import Attempt, ConnectError, ConnectOptions, connect_socket, retry_by_evidence
from trio_socket_task._options import check_options
from trio_socket_task._stream import _environment
from trio_socket_task._stream._environment import choose_proxy, is_loopback
from trio_socket_task._url import check_url


def chosen(url: str, **options: object) -> str | None:
    """Give the proxy that is chosen."""
    given: ConnectOptions = {}
    given.update(options)  # type: ignore[typeddict-item]
    proxy = choose_proxy(check_options(check_url(url), given))
    return None if proxy is None else f"{proxy.scheme}://{proxy.peer}"


EVERY = {
    "WSS_PROXY": "http://wss:1",
    "WS_PROXY": "http://ws:1",
    "SOCKS_PROXY": "socks5://socks:1",
    "HTTPS_PROXY": "https://https:1",
    "HTTP_PROXY": "http://http:1",
    "ALL_PROXY": "http://all:1",
}


@pytest.mark.parametrize(
    ("names", "wss", "ws"),
    [
        ("WSS WS SOCKS HTTPS HTTP ALL", "http://wss:1", "http://ws:1"),
        ("SOCKS HTTPS HTTP ALL", "socks5://socks:1", "socks5://socks:1"),
        ("HTTPS HTTP ALL", "https://https:1", "https://https:1"),
        ("HTTP ALL", "http://all:1", "http://http:1"),
        ("HTTP", None, "http://http:1"),
        ("ALL", "http://all:1", "http://all:1"),
        ("WS", None, "http://ws:1"),
        ("", None, None),
    ],
)
@pytest.mark.parametrize("lower", [False, True])
def test_which_variable_counts(
    monkeypatch: pytest.MonkeyPatch, names: str, wss: str | None, ws: str | None, *, lower: bool
) -> None:
    """The scheme's own first, then SOCKS, HTTPS, HTTP (RFC 6455 section 4.1, step 3), at last ALL."""
    for name in names.split():
        variable = f"{name}_PROXY"
        monkeypatch.setenv(variable.lower() if lower else variable, EVERY[variable])
    assert chosen("wss://server.test/") == wss
    assert chosen("ws://server.test/") == ws


@pytest.mark.parametrize(
    ("variable", "value", "proxy"),
    [
        ("HTTPS_PROXY", "proxy:3128", "http://proxy:3128"),
        ("SOCKS_PROXY", "proxy:1080", "socks5h://proxy:1080"),
        ("SOCKS_PROXY", "http://proxy:1080", "socks5h://proxy:1080"),
        ("SOCKS_PROXY", "socks4://proxy", "socks4://proxy:1080"),
        ("ALL_PROXY", "socks5h://proxy/", "socks5h://proxy:1080"),
        ("HTTPS_PROXY", "", None),
    ],
)
def test_how_a_value_is_read(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, proxy: str | None) -> None:
    """Without a scheme it is http, or for SOCKS socks5h, which some systems write with http."""
    monkeypatch.setenv(variable, value)
    assert chosen("wss://server.test/") == proxy


def test_lower_case_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """As everywhere; an empty one is none."""
    monkeypatch.setenv("HTTPS_PROXY", "http://upper:1")
    monkeypatch.setenv("https_proxy", "http://lower:1")
    assert chosen("wss://server.test/") == "http://lower:1"
    monkeypatch.setenv("https_proxy", "")
    assert chosen("wss://server.test/") is None


@pytest.mark.parametrize(
    ("rules", "url", "is_direct"),
    [
        ("*", "wss://server.test/", True),
        ("server.test", "wss://server.test/", True),
        ("server.test", "wss://server.test./", True),
        ("server.test", "wss://a.server.test/", True),
        (".server.test", "wss://a.server.test/", True),
        (".server.test", "wss://server.test/", True),
        ("server.test", "wss://otherserver.test/", False),
        ("SERVER.Test", "wss://server.test/", True),
        ("other.test , server.test", "wss://server.test/", True),
        ("test", "wss://server.test/", True),
        ("", "wss://server.test/", False),
        (",", "wss://server.test/", False),
        ("server.test:443", "wss://server.test/", True),
        ("server.test:444", "wss://server.test/", False),
        ("192.0.2.1", "wss://192.0.2.1/", True),
        ("192.0.2.1", "wss://192.0.2.11/", False),
        ("2001:db8::1", "wss://[2001:db8::1]/", True),
        ("[2001:db8::1]", "wss://[2001:db8::1]/", True),
        ("[2001:db8::1]:443", "wss://[2001:db8::1]/", True),
        ("2001:db8::2", "wss://[2001:db8::1]/", False),
        ("192.0.2.0/24", "wss://192.0.2.1/", False),
        ("*.server.test", "wss://a.server.test/", False),
    ],
)
def test_no_proxy(monkeypatch: pytest.MonkeyPatch, rules: str, url: str, *, is_direct: bool) -> None:
    """The rules of Python's own `urllib`, which knows neither networks nor patterns."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", rules)
    assert (chosen(url) is None) is is_direct


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True),
        ("localhost.", True),
        ("chat.localhost", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("127.1", True),
        ("0x7f000001", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::2", False),
        ("128.0.0.1", False),
        ("127.0.0.1.example", False),
        ("notlocalhost", False),
        ("localhost.example", False),
        ("127.0.0.0.1", False),
        ("server.test", False),
    ],
)
def test_loopback_never_goes_to_a_proxy_of_the_environment(
    monkeypatch: pytest.MonkeyPatch, host: str, *, expected: bool
) -> None:
    """By name and by address, however it is written; a proxy that is asked for is another matter."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy:1")
    url = f"ws://[{host}]/" if ":" in host else f"ws://{host}/"
    assert is_loopback(host) is expected
    assert (chosen(url) is None) is expected
    assert chosen(url, proxy="http://asked:1") == "http://asked:1"


async def dial(_host: str, _port: int) -> None:
    """Go another way."""


def test_what_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """None, and `dial`."""
    monkeypatch.setenv("ALL_PROXY", "http://proxy:1")
    assert chosen("ws://server.test/") == "http://proxy:1"
    assert chosen("ws://server.test/", proxy=None) is None
    assert chosen("ws://server.test/", dial=dial) is None


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
async def test_a_broken_environment(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """The error names the variable and what is wrong, not what is secret; no other attempt is made."""
    monkeypatch.setenv(variable, "http://user:secret@proxy:port")
    with pytest.raises(ConnectError, match=f"the environment variable (?i:{variable}) .* must have a port") as caught:
        async with connect_socket("wss://server.test/"):
            pass
    assert "secret" not in str(caught.value)
    assert not retry_by_evidence(Attempt(url="wss://server.test/", error=caught.value), 1)


async def test_broken_settings_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where they name the proxy, no variable does."""
    monkeypatch.setattr(_environment, "_ASKS_SYSTEM", True)
    monkeypatch.setattr(request, "getproxies", lambda: {"https": "http://proxy:port"})
    with pytest.raises(ConnectError, match="the environment, or the system, by HTTPS_PROXY names a proxy that is none"):
        async with connect_socket("wss://server.test/"):
            pass


@pytest.mark.needs("no settings of the system")
def test_an_environment_without_proxies_costs_nothing() -> None:
    """What asks the system is not even imported."""
    program = (
        "import sys; from trio_socket_task._options import check_options; from trio_socket_task._url import check_url;"
        "from trio_socket_task._stream._environment import choose_proxy;"
        "assert choose_proxy(check_options(check_url('wss://server.test/'), {})) is None;"
        "assert 'urllib.request' not in sys.modules"
    )
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    subprocess.run([sys.executable, "-c", program], env=clean, check=True)
