"""The vendors' sample of `closeSocket`, line by line: it has its effect from the opening on only."""

from __future__ import annotations

import sys
from typing import Literal

import trio

from trio_socket_task.miniprogram import open_mini_program


async def main(url: str, vendor: Literal["wx", "qq"] = "wx") -> None:
    """Try to close too early, then close."""
    async with open_mini_program(vendor) as wx:
        wx.connectSocket({"url": url})

        # A matter of timing: before wx.onSocketOpen was called back, wx.closeSocket cannot achieve its purpose.
        wx.closeSocket({"fail": lambda res: print(res["errMsg"])})

        wx.onSocketOpen(lambda _res: wx.closeSocket())

        wx.onSocketClose(lambda _res: print("WebSocket has been closed!"))
        await wx.wait_closed()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
