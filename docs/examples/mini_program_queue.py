"""The vendors' sample of `sendSocketMessage`, line by line: what is sent too early waits until the opening."""

from __future__ import annotations

import sys
from typing import Literal

import trio

from trio_socket_task.miniprogram import open_mini_program


async def main(url: str, vendor: Literal["wx", "qq"] = "wx") -> None:
    """Send three messages, the first two before the socket is open, and print the answers."""
    async with open_mini_program(vendor) as wx:
        socket_open = False
        socket_msg_queue = []
        wx.connectSocket({"url": url})

        def on_open(_res):
            nonlocal socket_open, socket_msg_queue
            socket_open = True
            for msg in socket_msg_queue:
                send_socket_message(msg)
            socket_msg_queue = []
            send_socket_message("sent at once")

        wx.onSocketOpen(on_open)

        def send_socket_message(msg):
            if socket_open:
                wx.sendSocketMessage({"data": msg})
            else:
                socket_msg_queue.append(msg)

        send_socket_message("queued")
        send_socket_message("queued too")

        answers = 0

        def on_message(res):
            nonlocal answers
            print(res["data"])
            answers += 1
            if answers == 3:
                wx.closeSocket()

        wx.onSocketMessage(on_message)
        await wx.wait_closed()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
