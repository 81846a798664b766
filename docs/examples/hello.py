"""Say hello, and print what comes."""

import sys

import trio

from trio_socket_task import connect_socket


async def main(url):
    async with connect_socket(url) as task:
        await task.send("hello")
        async for data in task:  # str for text, bytes for binary
            print(data)


if __name__ == "__main__":
    trio.run(main, sys.argv[1])
