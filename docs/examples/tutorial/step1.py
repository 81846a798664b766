"""Connect, send, receive."""

import sys

import trio

from trio_socket_task import connect_socket


async def main(url="ws://127.0.0.1:8000/"):
    async with connect_socket(url) as task:
        await task.send("hello")
        print("heard:", await task.receive())


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
