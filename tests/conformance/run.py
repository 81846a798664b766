"""Run the Autobahn suite against this client and compare the result with the table that is kept beside this file.

    python run.py PYTHON2 [--rival] [--all | CASE ...]

PYTHON2 is a Python 2.7 that has autobahntestsuite. Cases are patterns such as ``9.*``. Without any, groups 1 to 10 are
run, and a sample of 12 and 13, which are compression: each size once, and each set of parameters. ``--all`` runs
everything. With ``--rival`` the client of websockets on Trio is run, with the same parameters of compression.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

import trio
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.trio.client import connect as connect_rival

from trio_socket_task import ConnectError, PerMessageDeflate, SocketLostError, connect_socket

HERE = Path(__file__).parent
TABLE = HERE / "expected.json"
AGENT = "trio-socket-task"
LARGEST = 64 * 2**20  # group 9 goes up to 16 MiB
RACES = {"3.4", "4.1.5", "4.2.5"}  # whether an answer leaves before the Close is a race inside the suite
GROUPS = [f"{group}.*" for group in (*range(1, 8), 9, 10)]
SAMPLE = [*(f"12.1.{size}" for size in range(1, 19)), *(f"12.{data}.4" for data in range(2, 6))]
SAMPLE += [f"13.{parameters}.4" for parameters in range(1, 8)]
DEFLATE = PerMessageDeflate(client_max_window_bits=15)
"""The suite asks for 15 bits in some cases, whatever was offered below it."""
LONGEST = 480
"""Seconds that the suite itself gives to its longest cases."""
Result = dict[str, str]


def free_port() -> int:
    """Give a loopback port that nobody listens on."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


async def echo(url: str) -> None:
    """Send every message back, as the suite's cases ask, until the server closes."""
    async with connect_socket(
        url,
        max_message_size=LARGEST,
        receive_buffer=LARGEST,
        close_timeout=5,
        tcp_no_delay=True,
        per_message_deflate=DEFLATE,
    ) as task:
        try:
            async for data in task:
                await task.send(data)
        except SocketLostError:
            pass
        await task.wait_closed()


async def rival_echo(url: str) -> None:
    """Do the same by websockets."""
    offer = ClientPerMessageDeflateFactory(
        client_max_window_bits=DEFLATE.client_max_window_bits,
        compress_settings={"level": DEFLATE.level, "memLevel": DEFLATE.memory_level},
    )
    with suppress(ConnectionClosed):
        async with connect_rival(
            url, compression=None, extensions=[offer], max_size=LARGEST, close_timeout=5, ping_interval=None
        ) as connection:
            async for data in connection:
                await connection.send(data)


async def wait_for(url: str) -> None:
    """Wait until the server listens."""
    for _ in range(300):
        try:
            async with connect_socket(url):
                return
        except ConnectError:
            await trio.sleep(0.1)
    raise SystemExit("the suite's server did not start")


async def run_cases(url: str, run: Callable[[str], Awaitable[None]]) -> int:
    """Run every case the server has."""
    await wait_for(f"{url}/getCaseCount")
    async with connect_socket(f"{url}/getCaseCount") as task:
        count = int(await task.receive())
    for case in range(1, count + 1):
        with trio.fail_after(LONGEST):
            await run(f"{url}/runCase?case={case}&agent={AGENT}")
    async with connect_socket(f"{url}/updateReports?agent={AGENT}") as task:
        await task.wait_closed()
    return count


def measure(python2: str, cases: list[str], run: Callable[[str], Awaitable[None]]) -> tuple[dict[str, Result], float]:
    """Run cases against a server of their own and give their results, and the seconds they took."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        spec = Path(folder) / "spec.json"
        reports = Path(folder) / "reports"
        settings = {"url": f"ws://127.0.0.1:{port}", "outdir": str(reports), "cases": cases, "exclude-cases": []}
        spec.write_text(json.dumps({**settings, "exclude-agent-cases": {}}))
        server = subprocess.Popen(
            [python2, str(HERE / "fuzzingserver.py2"), str(spec)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            started = time.perf_counter()
            trio.run(run_cases, f"ws://127.0.0.1:{port}", run)
            seconds = time.perf_counter() - started
        finally:
            server.terminate()
            server.wait()
        index = json.loads((reports / "index.json").read_text())[AGENT]
    by_group: Counter[int] = Counter()
    for case, result in index.items():
        by_group[int(case.split(".")[0])] += result["duration"]
    print("seconds by group:", ", ".join(f"{group}: {by_group[group] / 1000:.1f}" for group in sorted(by_group)))
    results = {case: {key: result[key] for key in ("behavior", "behaviorClose")} for case, result in index.items()}
    return results, seconds


def differences(expected: dict[str, Result], results: dict[str, Result]) -> list[str]:
    """Say where results are not what the table says."""
    lines = [f"{case}: not run" for case in expected.keys() - results.keys()]
    for case, result in results.items():
        races = case in RACES and result["behavior"] == "NON-STRICT" and result["behaviorClose"] == "OK"
        if result != expected.get(case) and not races:
            lines.append(f"{case}: {result}, not {expected.get(case)}")
    return sorted(lines)


def main() -> int:
    """Run, print, compare."""
    python2, *cases = sys.argv[1:]
    run = echo
    if "--rival" in cases:
        cases.remove("--rival")
        run = rival_echo
    patterns = ["*"] if cases == ["--all"] else cases or [*GROUPS, *SAMPLE]
    results, seconds = measure(python2, patterns, run)
    for key in ("behavior", "behaviorClose"):
        print(f"{key}: {dict(Counter(result[key] for result in results.values()))}")
    print(f"{len(results)} cases in {seconds:.1f} s")
    expected: dict[str, Result] = json.loads(TABLE.read_text())
    asked = {case: result for case, result in expected.items() if any(fnmatchcase(case, one) for one in patterns)}
    wrong = differences(asked, results)
    print("\n".join(wrong) or "as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
