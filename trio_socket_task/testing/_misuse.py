"""What the kit says to a test that uses it wrongly, or whose program did not do what was expected."""

from __future__ import annotations

from typing import final


@final
class MisuseError(AssertionError):
    """The test uses the kit in a way that cannot mean anything; the sentence says what to do instead."""


@final
class ScriptError(AssertionError):
    """The client did not follow the script; the text tells the story so far and shows the difference."""


@final
class LeakError(AssertionError):
    """The test left something behind; the text names it."""
