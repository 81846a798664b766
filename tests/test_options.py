"""`_options`: what a caller may ask for, and what is refused."""

from __future__ import annotations

import ssl
from typing import cast

import pytest

from trio_socket_task import ConnectOptions, Heartbeat, InvalidOptionsError
from trio_socket_task._checks import check_close, encode_payload
from trio_socket_task._options import Options, check_options, is_own_field
from trio_socket_task._protocol._upgrade import Upgrade
from trio_socket_task._url import check_url
from trio_socket_task._version import __version__

PLAIN = check_url("ws://example.org/")
SECURE = check_url("wss://example.org/")


async def an_async_function(_data: str | bytes) -> None:
    """Do nothing."""


def check(**options: object) -> Options:
    """Check options against a plain URL."""
    return check_options(PLAIN, cast("ConnectOptions", options))


def test_defaults() -> None:
    """What is not asked for has the documented default."""
    options = check()
    assert (options.header, options.protocols, options.tcp_no_delay) == ((), (), False)
    assert (options.timeout, options.close_timeout) == (60, 10)
    assert (options.max_message_size, options.receive_buffer, options.send_buffer) == (2**24, 2**24, 2**20)
    assert (options.heartbeat, options.ssl_context, options.dial) == (None, None, None)


def test_values_are_kept() -> None:
    """What is asked for comes out; values lose the white space around them (RFC 7230 section 3.2.4)."""
    heartbeat = Heartbeat(interval=1, timeout=2)
    options = check(header={"X-A": " b\t"}, protocols=["p1", "p2"], timeout=1, tcp_no_delay=True, heartbeat=heartbeat)
    assert options.header == (("X-A", "b"),)
    assert options.protocols == ("p1", "p2")
    assert options.tcp_no_delay is True
    assert options.heartbeat is heartbeat


def test_an_ssl_context_is_a_clients() -> None:
    """A server's is refused before it fails."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    with pytest.raises(InvalidOptionsError, match="ssl_context must be a client's"):
        check_options(SECURE, {"ssl_context": server})


def test_ssl_context_goes_with_wss() -> None:
    """TLS settings are taken for a wss URL."""
    context = ssl.create_default_context()
    assert check_options(SECURE, {"ssl_context": context}).ssl_context is context


@pytest.mark.parametrize(
    ("argument", "value", "rule"),
    [
        *[("timeout", value, "must be a positive, finite") for value in (0, -1, float("inf"), float("nan"), "1", True)],
        ("close_timeout", 0, "must be a positive, finite"),
        *[("max_message_size", value, "must be a positive whole number") for value in (0, 1.5, True, None)],
        ("receive_buffer", 0, "must be a positive whole number"),
        ("send_buffer", -1, "must be a positive whole number"),
        ("tcp_no_delay", 1, "must be True or False"),
        ("heartbeat", 20, "must be a Heartbeat"),
        ("dial", "tcp", "must be an async callable"),
        ("ssl_context", True, "must be an ssl.SSLContext"),
        ("ssl_context", ssl.create_default_context(), "must be None for a ws URL such as ws://example.org/"),
        ("protocols", "chat", "must be a sequence of str"),
        ("protocols", 5, "must be a sequence of str"),
        ("protocols", ["a", "a"], "must not name a protocol twice"),
        *[
            ("header", value, "must be a mapping of names to values, or a sequence of such pairs")
            for value in ("ab", b"ab", 1, {("a", "b")}, ["ab"], [("a",)], [("a", "b", "c")], [1])
        ],
    ],
)
def test_a_bad_option_is_refused(argument: str, value: object, rule: str) -> None:
    """Each refusal names the argument, the value and the rule."""
    with pytest.raises(InvalidOptionsError) as caught:
        check(**{argument: value})
    assert caught.value.argument == argument
    assert caught.value.value is value
    assert caught.value.rule.startswith(rule)


@pytest.mark.parametrize("protocol", ["", "a b", "a,b", "ä", 5])
def test_a_protocol_is_a_token(protocol: object) -> None:
    """RFC 6455 section 4.1: subprotocols are tokens."""
    with pytest.raises(InvalidOptionsError, match="must contain tokens only"):
        check(protocols=["ok", protocol])


@pytest.mark.parametrize("name", ["", "a b", "a:", "ä", 5])
def test_a_header_name_is_a_token(name: object) -> None:
    """RFC 7230 section 3.2.6: field names are tokens."""
    with pytest.raises(InvalidOptionsError, match="must have tokens for names"):
        check(header={name: "x"})


@pytest.mark.parametrize("value", ["a\r\nb", "a\nb", "a\0", "a\x0bb", "a\x7f", 5, b"x"])
def test_a_header_value_stays_on_its_line(value: object) -> None:
    """A value cannot smuggle in another field."""
    with pytest.raises(InvalidOptionsError, match="without control characters as value of X-A"):
        check(header={"X-A": value})


def test_a_header_value_has_no_lone_surrogate() -> None:
    """A value can be encoded."""
    with pytest.raises(InvalidOptionsError, match="lone surrogates"):
        check(header={"X-A": "\ud800"})


@pytest.mark.parametrize(
    "name",
    ["Referer", "referer", "HOST", "Upgrade", "Connection", "Content-Length", "Sec-WebSocket-Key", "sec-websocket-x"],
)
def test_own_fields_are_refused(name: str) -> None:
    """The vendors forbid Referer; the others are the handshake's."""
    assert is_own_field(name)
    with pytest.raises(InvalidOptionsError, match="handshake's own fields and Referer"):
        check(header={name: "x"})


def test_an_unknown_option_is_a_type_error() -> None:
    """As with any Python function, and the message lists what there is."""
    with pytest.raises(TypeError, match=r"unknown option 'heartbaet'; the options are header, protocols"):
        check(heartbaet=None)


@pytest.mark.parametrize("argument", ["interval", "timeout"])
def test_a_heartbeat_has_positive_times(argument: str) -> None:
    """A heartbeat without pause is refused."""
    with pytest.raises(InvalidOptionsError, match=f"{argument} must be a positive, finite number of seconds"):
        Heartbeat(**{argument: 0})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("message", "reply", "rule"),
    [
        ("ping", None, "reply must be given together with message"),
        (None, "pong", "reply must be given together with message"),
        (3, "pong", "message must be str or bytes"),
        ("x" * 40_000, "pong", "message must have at most 32768 bytes"),
        ("\ud800", "pong", "message must not contain lone surrogates"),
        ("ping", "\ud800", "reply must not contain lone surrogates"),
        ("ping", 3, "reply must be str, bytes or a function"),
    ],
)
def test_a_heartbeat_of_messages_has_both(message: str | None, reply: str | None, rule: str) -> None:
    """What is sent, and what answers it."""
    with pytest.raises(InvalidOptionsError, match=rule):
        Heartbeat(message=message, reply=reply)


def test_a_heartbeat_knows_its_reply() -> None:
    """By value, or by a function."""
    assert Heartbeat(message="ping", reply="pong").is_reply("pong")
    assert not Heartbeat(message="ping", reply="pong").is_reply(b"pong")
    assert Heartbeat(message="ping", reply=lambda data: "pong" in str(data)).is_reply('{"type": "pong"}')
    assert not Heartbeat().is_reply("pong")


def test_a_receive_timeout_is_positive() -> None:
    """None is for none."""
    assert check(receive_timeout=None).receive_timeout is None
    assert check(receive_timeout=3).receive_timeout == 3.0
    with pytest.raises(InvalidOptionsError, match="receive_timeout must be a positive"):
        check(receive_timeout=0)


@pytest.mark.parametrize("code", [1000, 3000, 4999])
def test_codes_a_program_may_send(code: int) -> None:
    """RFC 6455 section 7.4.2 and the W3C API."""
    assert check_close(code, "") == b""


@pytest.mark.parametrize("code", [0, 999, 1001, 1005, 1006, 2999, 5000, -1, "1000", 1000.0, True, None])
def test_codes_a_program_may_not_send(code: object) -> None:
    """Everything else is refused."""
    with pytest.raises(InvalidOptionsError, match="code must be 1000 or from 3000 to 4999"):
        check_close(cast("int", code), "")


def test_a_reason_is_measured_in_bytes() -> None:
    """41 three-byte characters pass, 42 do not."""
    assert check_close(1000, "汉" * 41) == ("汉" * 41).encode()
    with pytest.raises(InvalidOptionsError, match=r"reason must not exceed 123 bytes of UTF-8 \(it has 126\)"):
        check_close(1000, "汉" * 42)


def test_a_reason_is_text() -> None:
    """And text that can be encoded."""
    with pytest.raises(InvalidOptionsError, match="reason must be a str"):
        check_close(1000, cast("str", b"x"))
    with pytest.raises(InvalidOptionsError, match="reason must not contain lone surrogates"):
        check_close(1000, "\ud800")


@pytest.mark.parametrize(
    ("data", "payload"),
    [("ä", b"\xc3\xa4"), (b"a", b"a"), (bytearray(b"a"), b"a"), (memoryview(b"abc")[::2], b"ac")],
)
def test_data(data: str | bytes, payload: bytes) -> None:
    """Text is encoded; anything like bytes is binary."""
    assert encode_payload(data) == payload


@pytest.mark.parametrize("data", [None, 5, ["a"], {"data": "a"}])
def test_data_of_another_type(data: object) -> None:
    """Anything else is a TypeError."""
    with pytest.raises(TypeError, match=f"data must be str or bytes, not {type(data).__name__}"):
        encode_payload(cast("str", data))


def test_data_with_a_lone_surrogate() -> None:
    """Text that has no UTF-8 is refused."""
    with pytest.raises(InvalidOptionsError, match="data must not contain lone surrogates"):
        encode_payload("a\udfff")


def test_an_answer_with_a_lone_surrogate() -> None:
    """It is refused by the name of the function that returned it."""
    with pytest.raises(InvalidOptionsError, match="^answer must not contain lone surrogates"):
        Heartbeat(answer=lambda _data: "\ud800").answer_to("2")


def test_a_header_of_pairs_keeps_repeated_fields_and_their_order() -> None:
    """A mapping has each name once."""
    options = check(header=[("X-B", "1"), ["X-A", " 2 "], ("X-B", "3")])
    assert options.header == (("X-B", "1"), ("X-A", "2"), ("X-B", "3"))


@pytest.mark.parametrize(
    ("pair", "rule"), [(("a b", "c"), "tokens for names"), (("a", "c\n"), "control"), (("Host", "a"), "own fields")]
)
def test_a_pair_obeys_the_rules_of_fields(pair: tuple[str, str], rule: str) -> None:
    """The later ones, too."""
    with pytest.raises(InvalidOptionsError, match=rule):
        check(header=[("X-A", "1"), pair])


@pytest.mark.parametrize(
    ("header", "sent"),
    [
        ({}, [b"trio-socket-task/" + __version__.encode()]),
        ({"USER-agent": "mine/1"}, [b"mine/1"]),
        ({"User-Agent": ""}, []),
        ([("User-Agent", "a"), ("user-agent", "b")], [b"a", b"b"]),
    ],
)
def test_the_user_agent_is_the_packages_own_or_the_callers_or_none(header: object, sent: list[bytes]) -> None:
    """Whoever asks who calls is told, unless the caller wants otherwise; an empty one is none."""
    fields = Upgrade(check(header=header)).request().headers
    assert [value for name, value in fields if name == b"user-agent"] == sent


def test_repeated_fields_go_out_as_they_are() -> None:
    """Each in a line of its own, in their order."""
    fields = Upgrade(check(header=[("X-A", "1"), ("X-A", "2")])).request().headers
    assert [value for name, value in fields if name == b"x-a"] == [b"1", b"2"]


def test_a_heartbeat_knows_its_answers() -> None:
    """A function tells them; without it there are none."""
    beat = Heartbeat(answer=lambda data: b"3" if data == "2" else None)
    assert (beat.answer_to("2"), beat.answer_to("4"), Heartbeat().answer_to("2")) == (b"3", None, None)


@pytest.mark.parametrize("value", ["3", b"3", 3, an_async_function])
def test_an_answer_is_a_plain_function(value: object) -> None:
    """Anything else is refused before any I/O."""
    with pytest.raises(InvalidOptionsError, match="answer must be a function of a message, and no async function"):
        Heartbeat(answer=value)  # type: ignore[arg-type]


def test_an_answer_is_a_small_message() -> None:
    """What else the function returns is its mistake; its text is not quoted."""
    with pytest.raises(InvalidOptionsError, match="answer must return at most 32768 bytes, not bytes of length 32769"):
        Heartbeat(answer=lambda _data: bytes(32769)).answer_to("2")
    with pytest.raises(TypeError, match="answer must be str or bytes, not int"):
        Heartbeat(answer=lambda _data: 3).answer_to("2")  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("seconds", [True, "x", -0.1, 0.0011, float("nan")])
def test_a_busy_poll_is_short(seconds: object) -> None:
    """Because nothing else runs meanwhile."""
    with pytest.raises(InvalidOptionsError, match="busy_poll must be a number of seconds from 0 to"):
        check_options(check_url("ws://a/"), cast("ConnectOptions", {"busy_poll": seconds}))
