"""What a run of the campaign inside these tests leaves as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def _log() -> Iterator[None]:
    """Let the package's loggers speak again after a campaign, which silences them."""
    loggers = [logging.getLogger(name) for name in ("trio_socket_task", "trio_socket_task.miniprogram")]
    before = [(logger, logger.level, logger.disabled) for logger in loggers]
    yield
    for logger, level, disabled in before:
        logger.setLevel(level)
        logger.disabled = disabled
