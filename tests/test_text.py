"""What people are shown of URLs and of what others wrote."""

from __future__ import annotations

import pytest
from mute import MuteError

from trio_socket_task._text import kind_of, mask_url, name_character, printable, quoted, shown_value, text_of


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("wss://example.org/chat", "wss://example.org/chat"),
        ("wss://example.org:8443", "wss://example.org:8443"),
        ("ws://[::1]:8000/a", "ws://[::1]:8000/a"),
        ("wss://example.org/@scope/x", "wss://example.org/@scope/x"),
        ("wss://example.org/?token=secret", "wss://example.org/?***"),
        ("wss://example.org?secret", "wss://example.org?***"),
        ("wss://example.org/?a=secret@b", "wss://example.org/?***"),
        ("wss://example.org/?a=1\nsecret", "wss://example.org/?***"),
        ("wss://example.org/#access_token=secret", "wss://example.org/#***"),
        ("wss://user:secret@example.org/x?secret#secret", "wss://***@example.org/x?***"),
        ("wss://secret@example.org", "wss://***@example.org"),
        ("wss://user:se?cret@example.org/", "wss://***"),
        ("wss://user:se/cret@example.org/", "wss://***@example.org/"),
        ("wss://user:se#cret@example.org/", "wss://***"),
        ("wss://example.org?a=1@secret", "wss://example.org?***"),
        ("wss://example.org?a=b:c/d@secret", "wss://example.org?***"),
        ("wss://user:secret@example.org/?a=1@secret", "wss://***"),
        ("wss://example.org:port/?a=1@secret", "wss://***"),
        ("wss:///user:secret@example.org/x", "wss:///***@example.org/x"),
        ("wss:\\\\user:secret@example.org", "wss:\\\\***@example.org"),
        ("wss:/\\/user:secret@example.org", "wss:/\\/***@example.org"),
        ("wss://user:secret/x", "wss://user:***/x"),
        ("user:secret@example.org/x", "***@example.org/x"),
        ("wss://user:/secret@example.org/", "wss://***@example.org/"),
        ("wss://example.org:/x", "wss://example.org:/x"),
        ("socks5:/user:secret@example.org:1080", "***@example.org:1080"),
        ("wws:/user:secret@example.org", "***@example.org"),
        ("wss:a/secret@example.org", "wss:***@example.org"),
        ("wss:/a/secret@example.org", "wss:/***@example.org"),
        ("wss://@/secret@example.org", "wss://***@example.org"),
        ("http;//user:secret@example.org", "***@example.org"),
        ("wss//user:secret@example.org", "***@example.org"),
        ("wss//secret@example.org", "***@example.org"),
        ("wss//user:se?cret@example.org", "***"),
        ("wss /://user:secret@example.org", "***@example.org"),
        ("http:/ /user:secret@example.org", "http:/***@example.org"),
        ("http:\t//user:secret@example.org", "http:***@example.org"),
        ("http://user%3Asecret%40example.org/", "http://***@example.org/"),
        ("wss://gate.example/wss://user:secret@example.org/", "wss://gate.example/***@example.org/"),
        ("wss://gate.example/wss://secret@example.org/", "wss://gate.example/***@example.org/"),
        ("wss://gate.example//secret@example.org/", "wss://gate.example/***@example.org/"),
        ("wss://gate.example/wss://user:se?cret@example.org/", "wss://gate.example/***"),
        ("wss://gate.example/wss%3A%2F%2Fuser%3Asecret%40example.org", "wss://gate.example/***@example.org"),
        ("/a, http://user:secret@example.org/", "/***@example.org/"),
        ("/a,http://secret@example.org/", "/***@example.org/"),
        ("/@user/x", "/@user/x"),
        ("/a/@user?mail=secret@example.org", "/a/@user?***"),
        ("wss://example.org/@user:1/x", "wss://example.org/@user:1/x"),
        ("test.php?secret", "test.php?***"),
        ("test.php?mail=secret@example.org", "test.php?***"),
        ("wss://exa\x1b[2Jmple.org/", "wss://exa\\x1b[2Jmple.org/"),
        ("", ""),
    ],
)
def test_masked_urls(url: str, masked: str) -> None:
    """Userinfo, query and fragment are secrets, also where the URL is not well-formed."""
    assert mask_url(url) == masked


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, and 漢字 é 😀\t.", "plain, and 漢字 é 😀\t."),
        ("\x1b]0;title\x07", "\\x1b]0;title\\x07"),
        ("a\r\nb\x7f\x00", "a\\x0d\\x0ab\\x7f\\x00"),
        ("\x9b31m", "\\x9b31m"),
        ("a\u2028b\u202ec", "a\\u2028b\\u202ec"),
        ("\ud800", "\\ud800"),
    ],
)
def test_control_characters_are_visible(text: str, shown: str) -> None:
    """C0, DEL, C1, line separators, what changes the direction of writing, and lone surrogates."""
    assert printable(text) == shown


def test_cut() -> None:
    """After so many characters of the original."""
    assert printable("abc", 3) == "abc"
    assert printable("abcd", 3) == "abc..."
    assert printable("\x1b" * 4, 3) == "\\x1b" * 3 + "..."


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see https://u:secret@h/x?secret, or http://i/", "see https://***@h/x?***, or http://i/"),
        ("it points to 'https://login/?code=secret'.", "it points to 'https://login/?***'."),
        ("连接wss://h/?secret失败", "连接wss://h/?***"),
        ("to_wss://u:secret@h", "to_wss://***@h"),
        (r"ws:\\u:secret@h", r"ws:\\***@h"),
        ("http:/user:secret@h", "http:/***@h"),
        ("to socks5:/user:secret@h, or user:secret@h", "to ***@h, or ***@h"),
        ("http@://user:secret@h", "***@h"),
        ("user:secret@g,http://h/", "***@g,http://h/"),
        ('{"message":"Route GET:/chat?token=secret not found"}', '{"message":"Route GET:/chat?*** not found"}'),
        ('{"path":"/chat?secret","status":404}', '{"path":"/chat?***","status":404}'),
        ("/login?token=secret&to=http://h/", "/login?***http://h/"),
        ("at http://h/x ?token=secret", "at http://h/x ?***"),
        ("redirected to /cb#access_token=secret, or #top", "redirected to /cb#***, or #top"),
        ("bad //secret@h/x", "bad //***@h/x"),
        ("GET /chat?%53ecret failed", "GET /chat?*** failed"),
        ("a/b#c of C#, //h/x, 1//2 a/b@c, what/? /%20", "a/b#c of C#, //h/x, 1//2 a/b@c, what/? /%20"),
        ("where? git@h:x, a@b, either/or? a?b", "where? git@h:x, a@b, either/or? a?b"),
        ("no url: at all // \x1b", "no url: at all // \\x1b"),
    ],
)
def test_urls_in_what_others_say(text: str, shown: str) -> None:
    """They are masked, and the text around them stays."""
    assert quoted(text) == quoted(shown) == shown


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("secret", "a str of 6 characters"),
        (b"secret", "bytes of length 6"),
        (None, "None"),
        (["secret"], "a value of the type list"),
    ],
)
def test_kinds(value: object, kind: str) -> None:
    """What a value is, not what is in it."""
    assert kind_of(value) == kind
    assert shown_value("header", value) == shown_value("--header", value) == kind


def test_kinds_of_what_has_no_length() -> None:
    """A memoryview that was released has none."""
    view = memoryview(b"secret")
    view.release()
    assert kind_of(view) == "a value of the type memoryview"


def test_shown_values() -> None:
    """Others are quoted, URLs masked."""
    assert shown_value("timeout", -1) == "-1"
    assert shown_value("url", "ws://h/?secret") == "'ws://h/?***'"
    assert shown_value("url", 5) == "a value of the type int"
    assert len(shown_value("code", "x" * 1000)) <= 120
    assert "int" in shown_value("limit", 10**5000)


def test_what_an_error_says() -> None:
    """Its type's name where that is nothing, or raises."""
    assert text_of(ValueError("why")) == "why"
    assert text_of(ValueError()) == "ValueError"
    assert text_of(MuteError()) == "MuteError"


def test_a_character_is_named() -> None:
    """By its number, because it may be invisible, and its place."""
    assert name_character("ab\n", 2) == "U+000A at position 2"
