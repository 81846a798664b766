"""A record of the functions that a mini program's sockets call."""

from __future__ import annotations

from collections.abc import Callable


class Heard(list[tuple[str, dict[str, object]]]):
    """What was called, with what, in order; calling it gives a function to be called."""

    def __call__(self, name: str, then: Callable[[object], object] | None = None) -> Callable[[object], None]:
        def hear(result: object) -> None:
            assert type(result) is dict
            self.append((name, result))
            if then is not None:
                then(result)

        return hear

    def callbacks(self) -> dict[str, object]:
        """Give the three that every vendor function takes."""
        return {name: self(name) for name in ("success", "fail", "complete")}

    @property
    def names(self) -> list[str]:
        """Give what was called."""
        return [name for name, _ in self]

    @property
    def results(self) -> list[dict[str, object]]:
        """Give what it was called with."""
        return [result for _, result in self]
