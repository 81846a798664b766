"""Stay connected."""

import sys

import trio

from trio_socket_task import Outbox, SocketTaskError, open_resilient_socket


async def join(task):
    await task.send("join")
    await task.receive()


async def say(socket, lines):
    for number in range(1, lines + 1):
        await socket.send(f"line {number}")
        await trio.sleep(1)
    await socket.wait_delivered()
    socket.close(1000, "all is said")


async def tell(socket):
    async with socket.on_state() as states:
        async for event in states:
            print(f"{event.state.value}:", event.why, flush=True)


async def talk(url, lines=20, **options):
    outbox = Outbox(resend=True)  # better a line twice than a line lost
    async with (
        open_resilient_socket(url, on_connected=join, outbox=outbox, **options) as socket,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(tell, socket)
        nursery.start_soon(say, socket, lines)
        async for text in socket:
            print("heard:", text, flush=True)
        nursery.cancel_scope.cancel()


async def main(url="ws://127.0.0.1:8000/"):
    errors = []
    try:
        await talk(url)
    except* SocketTaskError as group:
        errors.extend(group.exceptions)
    except* KeyboardInterrupt:
        errors.append("interrupted")
    if errors:
        sys.exit(f"ended: {errors[0]}")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
