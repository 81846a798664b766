"""What a server does to one connection, drawn at random."""

from __future__ import annotations

import random
from typing import final

import attrs

OPENINGS = ("accept", "accept late", "busy", "redirect", "unauthorized", "garbage", "silent", "fin", "reset", "half")
ENDINGS = ("fin", "reset", "half", "close", "close and stay", "close and reset", "garble")
ANSWERS = ("good", "good", "good", "stay", "late", "never", "fin", "reset", "other code")
PONGS = ("at once", "at once", "at once", "late", "latest", "lossy", "never", "empty", "drop")
ACKNOWLEDGEMENTS = ("at once", "at once", "at once", "late", "backwards", "lossy", "twice", "never")
CODES = (1000, 1000, 1001, 1008, 1011, 1012, 1013, 3008, 4000)


@final
@attrs.frozen(kw_only=True)
class Behaviour:
    """What a server does to one connection; the defaults are a good server's."""

    latency: float = 0.0
    """Seconds that bytes are on their way."""
    capacity: int = 2**16
    """Bytes on their way before a sender waits."""
    opening: str = "accept"
    """How it answers the handshake."""
    opening_delay: float = 0.0
    retry_after: int | None = None
    """Seconds that it asks to wait when it is busy."""
    greetings: int = 0
    """Messages in the same segment as the 101 response."""
    pushes: int = 0
    """Messages that it sends by and by."""
    push_gap: float = 0.0
    pace: float = 0.0
    """Seconds between two pieces that it reads."""
    stops_after: int | None = None
    """Messages after which it reads no more."""
    resumes_after: float | None = None
    """Seconds after which it reads on."""
    pongs: str = "at once"
    """How it answers pings."""
    pong_delay: float = 0.0
    acknowledgements: str = "at once"
    """How it acknowledges messages, where the program expects that."""
    ending: str | None = None
    """How it ends the connection, if it does."""
    ends_after: float = 0.0
    """Seconds until then."""
    ends_after_messages: int | None = None
    """Messages that it reads before."""
    ends_with_client: bool = False
    """Whether those seconds begin when the program on the other side asks to close, so that the two cross."""
    code: int = 1000
    """What it closes with."""
    answer: str = "good"
    """How it answers a Close."""


def draw_behaviour(dice: random.Random, close_timeout: float) -> Behaviour:
    """Draw a server's behaviour, of which most parts are good."""
    if dice.random() < 0.2:
        return _draw_crossing(dice, close_timeout)

    def rarely(value: object, otherwise: object, chance: float = 0.25) -> object:
        return value if dice.random() < chance else otherwise

    latency = dice.choice((0.0, 0.0, 0.001, 0.05, 0.5))
    values = {
        "latency": latency,
        "capacity": rarely(dice.choice((64, 500, 4096)), 2**16),
        "opening": rarely(dice.choice(OPENINGS), "accept", 0.3),
        "opening_delay": dice.choice((0.0, 0.1, 3.0, 30.0)),
        "retry_after": rarely(dice.choice((1, 30, 3600)), None, 0.5),
        "greetings": rarely(dice.randint(1, 4), 0, 0.4),
        "pushes": rarely(dice.randint(1, 20), 0, 0.4),
        "push_gap": dice.choice((0.0, 0.01, 1.0)),
        "pace": rarely(dice.choice((0.01, 0.3)), 0.0),
        "stops_after": rarely(dice.randint(0, 10), None),
        "resumes_after": rarely(dice.choice((0.1, 2.0, 15.0)), None, 0.5),
        "pongs": dice.choice(PONGS),
        "pong_delay": dice.choice((0.01, 0.5, 4.0)),
        "acknowledgements": dice.choice(ACKNOWLEDGEMENTS),
        "ending": rarely(dice.choice(ENDINGS), None, 0.6),
        "ends_after": dice.choice((0.0, 0.001, 0.02, 0.3, 0.6, 2.0, 8.0, 40.0)),
        "ends_after_messages": rarely(dice.randint(0, 8), None, 0.3),
        "ends_with_client": dice.random() < 0.3,
        "code": dice.choice(CODES),
        "answer": dice.choice(ANSWERS),
    }
    return Behaviour(**values)  # type: ignore[arg-type]


def _draw_crossing(dice: random.Random, close_timeout: float) -> Behaviour:
    """Draw a server that ends the connection while the client closes it, and has read little or nothing."""
    return Behaviour(
        latency=dice.choice((0.0, 0.001)),
        capacity=dice.choice((64, 2**16)),
        stops_after=dice.choice((0, 1, 5)),
        pongs=dice.choice(PONGS),
        acknowledgements=dice.choice(ACKNOWLEDGEMENTS),
        ending=dice.choice(("close", "close and stay", "close and reset", "reset", "fin")),
        ends_after=dice.choice((0.0, 0.5, 1.0, 1.5, 1.9)) * close_timeout,
        ends_with_client=True,
        code=1000,
    )
