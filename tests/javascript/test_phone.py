"""What libraries find on a phone, what its calls return, and the times of an opening."""

from __future__ import annotations

from typing import Literal

import pytest
import trio
import trio.testing

from trio_socket_task.javascript import open_javascript
from trio_socket_task.testing import SocketServer

pytestmark = pytest.mark.needs("javascript")


async def test_names_of_browsers_are_there_and_undefined(autojump_clock: trio.testing.MockClock) -> None:
    """So a library may ask for them as they stand, and a program may give them a meaning."""
    async with open_javascript() as program:
        await program.run(source="const found = [window, self, navigator, document]; navigator = { language: 'zh' }")
        await program.run(source="console.log(typeof WebSocket, 'window' in globalThis, navigator.language)")
        assert list(program.console) == [("log", "undefined true zh")]
        assert list(program.errors) == []


async def test_calls_return_undefined(
    autojump_clock: trio.testing.MockClock, memory_socket_server: SocketServer
) -> None:
    """Those of a SocketTask always, those of wx where a callback is given; else it is a promise."""
    script = """
    const task = wx.connectSocket({ url: 'wss://phone.test/' })
    const success = () => {}
    task.onOpen(() => console.log(
      task.send({ data: 'x' }), wx.sendSocketMessage({ data: 'x', success }), wx.closeSocket({ success }),
      task.close({}), task.onClose(success), typeof wx.sendSocketMessage({ data: 'x' }).then
    ))
    """
    async with open_javascript(map={"wss://phone.test": "ws://phone.test"}, dial=memory_socket_server.dial) as program:
        await program.run(source=script)
        await program.wait_idle()
        assert next(iter(program.console)) == ("log", " ".join(["undefined"] * 5 + ["function"]))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(("vendor", "text"), [("wx", "8000 8000 0 9000"), ("qq", "undefined")])
async def test_the_times_of_an_opening_are_those_of_date(
    autojump_clock: trio.testing.MockClock,
    memory_socket_server: SocketServer,
    vendor: Literal["wx", "qq"],
    text: str,
    strict: bool,  # noqa: FBT001 (a parameter)
) -> None:
    """For each listener, and the same in every run, where the script's time is given; qq knows none."""
    script = """
    const show = ({ profile: times }) => setTimeout(() =>
      console.log(...times ? [times.fetchStart, times.connectEnd, times.cost, Date.now()] : [times]), 1000)
    setTimeout(() => {
      const task = VENDOR.connectSocket({ url: 'wss://phone.test/' })
      for (const listener of [show, show]) task.onOpen(listener)
    }, 1000)
    """.replace("VENDOR", vendor)
    lead = {"wss://phone.test": "ws://phone.test"}
    async with open_javascript(
        vendor, map=lead, dial=memory_socket_server.dial, start_time=7, strict=strict
    ) as program:
        await program.run(source=script)
        await trio.sleep(3)
        assert list(program.console) == [("log", text)] * 2
