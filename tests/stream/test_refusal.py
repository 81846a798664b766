"""`_refusal`: which words of a refusal are secrets of the request, and which are only words."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Callable
from urllib.parse import quote

import h11
import pytest

from trio_socket_task._events import Header
from trio_socket_task._stream._refusal import explanation, mask_echo

KEY = "q+gk2/6Sv9=="
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
UUID = "550e8400-e29b-41d4-a716-446655440000"


def request(query: str = "", **fields: str) -> h11.Request:
    """Return a request; fields are named with underscores."""
    header = {"Host": "server.test", **fields}
    values = [(name.replace("_", "-").encode(), value.strip().encode()) for name, value in header.items()]
    return h11.Request(method="GET", target=f"/chat{query}", headers=values)


@pytest.mark.parametrize(
    ("asked", "said", "shown"),
    [
        (request(X_Api_Key=KEY), f"key {KEY} is unknown", "key *** is unknown"),
        (request(X_Api_Key=KEY), r'{"detail":"key q\u002Bgk2\/6Sv9==!"}', '{"detail":"key ***!"}'),
        (request(X_Api_Key=KEY), "key q%2bgk2%2f6Sv9%3d%3d is unknown", "key *** is unknown"),
        (request(X_Api_Key=KEY), "key q%25252Bgk2%252F6Sv9%253D%253D!", "key ***!"),
        (request(X_Api_Key=KEY), "key q+gk2/6Sv9 is unknown", "key *** is unknown"),
        (request(f"?token={quote(KEY, safe='')}"), "token q&#43;gk2&#x2F;6Sv9 is unknown", "token *** is unknown"),
        (request(X_Api_Key="p&SSW0RD"), r"key p\u0026SSW0RD, p&amp;SSW0RD", "key ***, ***"),
        (request(X_Api_Key="sesame"), r'{"detail":"key\nsesame"}', r'{"detail":"key\n***"}'),
        (request(X_Api_Key=r"open\nsesame"), r"no open\nsesame, open\\nsesame", "no ***, ***"),
        (request("?password=p%26ssw"), "no p&ssw, %70&ssw", "no ***, ***"),
        (request(X_Api_Key="it's SESAME"), "it&apos;s SESAME it&#39;s SESAME", "*** ***"),
        (request(X_Api_Key="tö!rö"), "tö!rö t%C3%B6!r%C3%B6 tÃ¶!rÃ¶", "*** ***%B6 ***¶"),
        (request(X_Api_Key="l#2$k!9"), "not l#2$k!9", "not ***"),
        (request(X_Api_Key="sesame"), "令牌sesame失败, \\u4ee4sesame", "令牌***失败, \\u4ee4***"),
        (request("?password=" + quote("芝麻开门")), "口令:芝麻开门 \\u829d\\u9ebb\\u5f00\\u95e8", "口令:*** ***"),
        (request("?token=Secret-Word-x"), "unknown user SECRET-WORD-X", "unknown user ***"),
        (request("?SECRET99X"), "no secret99x", "no ***"),
        (request("?word=open+sesame"), "GET /chat?word=open+sesame", "GET /chat?***"),
        (request("?next=/a%3Ftoken%3Dsesame"), "token sesame", "token ***"),
        (request("?auth=" + quote('{"token":"sesame"}')), "token: sesame", "***"),
        (request("?data=" + quote('{"token":"sesame"}')), "token sesame", "token ***"),
        (request(Authorization="Bearer sesame"), "invalid Bearer token: sesame", "invalid Bearer token: ***"),
        (request(Authorization="Bearer\tsesame"), "bad sesame", "bad ***"),
        (request(Authorization="AWS AKIAEXAMPLE:sig+nature/x"), "<Sig>sig+nature/x</Sig>", "<Sig>***</Sig>"),
        (request(Authorization="ApiKey bob:hunter"), "bob:hunter, hunter", "***, ***"),
        (request(Authorization="Token realm=x key=sesame"), "realm of sesame", "realm of ***"),
        (request(Authorization="Basic " + base64.b64encode(b"Ali:open").decode()), "no Ali:open, open", "no ***, ***"),
        (request("?token=%5Cud800-sesame"), "no sesame", "no ***"),
        (request(Authorization="Basic x"), "Basic x", "***"),
        (request(X_Key=""), "nothing", "nothing"),
        (request(Cookie="sid=s%3Asesame.mark; theme=dark"), "dark sesame", "dark ***"),
        (request(Cookie="sid=p&ssw!rd; s=a%3D1%26csrf%3Dsesame"), "p&ssw!rd of sesame", "*** of ***"),
        (request("?token=p;w,d!"), "no p;w,d!", "no ***!"),
        (request(f"?{'x' * 100}_token=sesame"), "no sesame", "no ***"),
        (request(Cookie=f"a={UUID}"), f"{UUID} is gone", "*** is gone"),
        (request(**{"Accept-Token": "sesame"}), "bad sesame", "bad ***"),
        (request(Authorization=f"Bearer {JWT}"), f"bad {JWT[:31]}...", "bad ***.***..."),
        (request(Authorization=f"Bearer {JWT}"), f"bad {JWT}", "bad ***"),
    ],
)
def test_secrets_that_are_repeated(asked: h11.Request, said: str, shown: str) -> None:
    """In the spelling of other formats, in other letter case, in parts, and shortened."""
    assert mask_echo(asked, said) == shown


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (request("?transport=websocket&role=user"), "your websocket request of user x: superuser only"),
        (request("?type=user&year=2026&mode=test&debug"), "user 2026-01-02: the latest test, debugging"),
        (request("?author=alice&keyword=chat&from=2026-11-26"), "alice, chat 2026-11-26"),
        (request("?session=none&auth=false"), "false, null, none"),
        (request("?token=chat"), "no to /chat"),
        (request("?token=abc"), "abc of abcd"),
        (request("?token=sesame"), "sesames of presesame"),
        (request("?token=chatrooms"), "chatroom2 sesam"),
        (request(Cookie="consent=true; lang=English"), '{"upgrade":true,"lang":"English"}'),
        (request(Content_Type="application/json"), "unsupported media application/json"),
        (request(Cache_Control="no-cache", Pragma="no-cache"), "no-cache"),
        (request(User_Agent="client12345", Origin="https://origin12345.test"), "client12345 origin12345"),
        (request(Accept_Language="en-US12345"), "en-US12345"),
        (request(Authorization="Bearer x"), "a bearer of a token, a basic user, an access key"),
        (request(Sec_WebSocket_Protocol="chat, graphql"), "the chatroom is full, use graphql"),
        (request(X_Api_Key=KEY), "&#0; &unknown; %zz 100% &#1;"),
    ],
)
def test_words_that_stay(asked: h11.Request, said: str) -> None:
    """They are no secrets, or of the path, or only a part of another word."""
    assert mask_echo(asked, said) == said


def test_a_prefix_of_the_path_stays() -> None:
    """The URL shows it anyway."""
    asked = h11.Request(method="GET", target="/chatroom?token=chatroom2", headers=[("Host", "a")])
    assert mask_echo(asked, "no chatroom for chatroom2") == "no chatroom for ***"


def test_the_answer_to_a_request_that_is_too_large() -> None:
    """Every word of it that the answer repeats is masked, and it is told why all the same; the rest is cut."""
    asked = request("?token=%73esame", X_Large="x " * 40_000 + "Opens with token")
    assert mask_echo(asked, "Too Many: busy") == "Too Many: busy"
    assert (
        mask_echo(asked, "token SESAME opens no server.test, token or x") == "token *** *** no server.test, token or x"
    )
    assert mask_echo(asked, "") == ""
    assert len(mask_echo(asked, "a " * 10_000)) == 1024


@pytest.mark.parametrize("size", [8_000, 30_000])
def test_a_secret_of_which_the_text_ends_inside(size: int) -> None:
    """Its beginning is masked too, where only so much of it was read."""
    secret = "x" * size
    asked = request(X_Key=secret)
    text = ("ab " * 5_400) + secret
    assert "xx" not in mask_echo(asked, text)
    assert "xx" not in explanation(Header([("Content-Type", "text/plain")]), text.encode(), asked)


HOSTILE: dict[str, Callable[[int], tuple[str, str]]] = {
    "cookies": lambda count: ("Cookie", "; ".join(f"sid={number:04}+/" for number in range(count // 13))),
    "key": lambda count: ("X-Key", ",".join(f"{number:04}+/" for number in range(count // 7))),
    "word": lambda count: ("X-Key", "0" * count),
    "repeated": lambda count: ("X-Key", "ab " * (count // 3)),
    "escaped": lambda count: ("X-Key", "%30" * (count // 3)),
    "null": lambda count: ("X-Key", "%00" * (count // 3)),
    "marks": lambda count: ("X-Key", "&" * count),
    "equals": lambda count: ("X-Key", "key=" * (count // 4)),
    "dashes": lambda count: ("X-Other", "a-1_" * (count // 4)),
    "letters": lambda count: ("X-Other", "a" * count),
}


def work(asked: h11.Request, text: str) -> float:
    """Return the least of the processor's time that masking takes; on Windows the clock of that ticks too seldom."""
    clock, times = time.perf_counter if sys.platform == "win32" else time.process_time, []
    for _ in range(5):
        before = clock()
        mask_echo(asked, text)
        times.append(clock() - before)
    return min(times)


@pytest.mark.parametrize("shape", HOSTILE)
def test_the_work_grows_with_the_request_and_no_faster(shape: str) -> None:
    """Also where the text is of the same words, and of a request that is beyond the limit."""
    asked = {}
    for size in (2_000, 30_000, 1_000_000):
        name, value = HOSTILE[shape](size)
        asked[size] = request(**{name.replace("-", "_"): value})
    text = HOSTILE[shape](30_000)[1]
    assert work(asked[30_000], text) < 4 * 15 * work(asked[2_000], text)
    assert work(asked[1_000_000], text) < 4 * 33 * work(asked[30_000], text)


@pytest.mark.parametrize("text", ["\0", "%", "&#", "&amp;", r"\u0030", "0", "=", "a="])
def test_the_work_grows_with_the_text_and_no_faster(text: str) -> None:
    """Whatever it is made of; what is beyond the limit is not looked at."""
    asked = request(X_Key="0 1 2 3 " * 100)
    assert work(asked, text * (16_000 // len(text))) < 4 * 8 * work(asked, text * (2_000 // len(text)))
    assert len(mask_echo(asked, text * 64_000)) <= 16 * 1024
