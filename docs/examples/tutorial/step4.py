"""Send and receive at the same time."""

import sys

import trio

from trio_socket_task import Heartbeat, SocketTaskError, connect_socket


async def say(task):
    for number in range(1, 21):
        await task.send(f"line {number}")
        await trio.sleep(1)
    task.close(1000, "all is said")


async def talk(url):
    heartbeat = Heartbeat(interval=5, timeout=5)
    async with connect_socket(url, timeout=5, heartbeat=heartbeat) as task, trio.open_nursery() as nursery:
        nursery.start_soon(say, task)
        async for text in task:
            print("heard:", text, flush=True)
        nursery.cancel_scope.cancel()  # the socket is closed: nobody is there to talk to


async def main(url="ws://127.0.0.1:8000/"):
    errors = []
    try:
        await talk(url)
    except* SocketTaskError as group:  # a nursery raises a group, because several of its tasks may fail
        errors.extend(group.exceptions)
    except* KeyboardInterrupt:
        errors.append("interrupted")
    if errors:
        sys.exit(f"ended: {errors[0]}")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
