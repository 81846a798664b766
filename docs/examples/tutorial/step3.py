"""Say in words what went wrong."""

import sys

import trio

from trio_socket_task import ConnectError, InvalidOptionsError, SocketLostError, connect_socket


async def talk(url):
    async with connect_socket(url, timeout=5) as task:
        for text in ("hello", "how are you?", "bye"):
            await task.send(text)
        async for text in task:
            print("heard:", text)
            if text == "bye":
                task.close(1000, "all is said")


async def main(url="ws://127.0.0.1:8000/"):
    try:
        with trio.fail_after(10):
            await talk(url)
    except InvalidOptionsError as error:
        sys.exit(f"wrong argument: {error}")
    except ConnectError as error:
        sys.exit(f"never open: {error}")
    except SocketLostError as error:
        sys.exit(f"lost: {error}")
    except trio.TooSlowError:
        sys.exit("too slow: the talk took more than ten seconds")


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
