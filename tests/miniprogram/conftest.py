"""What the tests of the dialect share."""

from __future__ import annotations

import pytest
from heard import Heard


@pytest.fixture
def heard() -> Heard:
    """Return a record of what is called."""
    return Heard()
