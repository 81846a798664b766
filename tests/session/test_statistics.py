"""`_statistics`: what went through sockets, added up."""

from __future__ import annotations

import attrs

from trio_socket_task import SocketStatistics
from trio_socket_task._session._statistics import Traffic, add

COUNTED = [field.name for field in attrs.fields(SocketStatistics) if str(field.type) == "int"]


def figures(factor: int) -> dict[str, int]:
    """Give a figure of its own for each count; of two factors no bits fit together."""
    return {name: factor * (3 + 2 * number) for number, name in enumerate(COUNTED)}


def test_every_figure_is_added() -> None:
    """Counts of messages and of bytes, also of those that are buffered; times stay."""
    one, other = (attrs.evolve(Traffic().settled(), **figures(factor), rtt=factor) for factor in (1, 3))
    assert add(one, other) == attrs.evolve(one, **figures(4))


def test_what_closed_sockets_had_is_counted_in() -> None:
    """Nothing of it is buffered any more."""
    total, names = Traffic(), [name for name in COUNTED if not name.endswith("buffered")]
    for factor in (1, 3):
        total.include(Traffic(**{name: figures(factor)[name] for name in names}))
    assert total.settled() == attrs.evolve(Traffic().settled(), **{name: figures(4)[name] for name in names})
