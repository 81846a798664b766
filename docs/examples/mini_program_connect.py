"""The vendors' sample of `connectSocket`, line by line: header and protocols."""

from __future__ import annotations

import sys
from typing import Literal

import trio

from trio_socket_task.miniprogram import open_mini_program


async def main(url: str, vendor: Literal["wx", "qq"] = "wx") -> None:
    """Connect, show what the server answered, and close."""
    async with open_mini_program(vendor) as wx:
        task = wx.connectSocket(
            {
                "url": url,
                "header": {"content-type": "application/json"},
                "protocols": ["protocol1"],
                "method": "GET",  # qq's sample has it; it does nothing
            }
        )
        task.onOpen(lambda res: print(res["header"]["Sec-WebSocket-Protocol"]))
        task.onOpen(lambda _res: task.close())
        await wx.wait_closed()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
