"""Hear messages until the socket closes."""

import sys

import trio

from trio_socket_task import connect_socket


async def main(url="ws://127.0.0.1:8000/"):
    async with connect_socket(url) as task:
        for text in ("hello", "how are you?", "bye"):
            await task.send(text)
        async for text in task:
            print("heard:", text)
            if text == "bye":
                task.close(1000, "all is said")
        closed = await task.wait_closed()
        print("closed:", closed.code, closed.reason)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
