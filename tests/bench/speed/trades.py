"""Messages as programs compress them: JSON of a stream of trades that does not repeat."""

from __future__ import annotations

import json
import random


def trade(random_: random.Random, number: int) -> dict[str, object]:
    """Give a trade."""
    return {
        "e": "trade",
        "s": random_.choice(["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]),
        "t": 100_000_000 + number,
        "p": f"{random_.uniform(1, 70_000):.2f}",
        "q": f"{random_.expovariate(3):.5f}",
        "T": 1_700_000_000_000 + number * 37 + random_.randrange(30),
        "m": random_.random() < 0.5,
    }


def messages(kind: str, size: int, count: int) -> list[bytes]:
    """Give messages of about a size."""
    random_ = random.Random(size)  # noqa: S311 (nothing secret)
    if kind == "random":
        return [random_.randbytes(size) for _ in range(count)]
    made: list[bytes] = []
    number = 0
    for _ in range(count):
        if size < 100:
            made.append(
                json.dumps({"id": number, "p": f"{random_.uniform(1, 70_000):.2f}", "q": random_.random()}).encode()[
                    :size
                ]
            )
            number += 1
            continue
        trades: list[dict[str, object]] = []
        while len(trades) * 108 < size - 30:
            trades.append(trade(random_, number))
            number += 1
        made.append(json.dumps({"stream": "trades", "data": trades}).encode())
    return made


TRADES = messages("json", 500, 200)
"""What is echoed, and what a flood is made of."""
