"""One client's process: told a scenario a line on its standard input, it answers with a line of figures."""

from __future__ import annotations

import json
import os
import resource
import ssl
import sys
import time
from pathlib import Path

from catalogue import measurement
from clients import CLIENTS, ON_TRIO
from interfaces import INTERFACES
from scenarios import Bench, Figures

CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak() -> float:
    """Give the most megabytes of this process that were in memory."""
    (line,) = [line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1000


def main(name: str, ports: dict[str, dict[str, int]], certificate: str, processor: str) -> None:
    """Serve the harness."""
    os.sched_setaffinity(0, {int(processor)})
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    session, runner = (INTERFACES[name], ON_TRIO) if name in INTERFACES else CLIENTS[name][:2]
    context = ssl.create_default_context(cafile=certificate)
    for line in sys.stdin:
        scenario, place = json.loads(line)
        cpu = time.process_time()
        CLEAR.write_text("5", encoding="ascii")  # so that the peak is this scenario's

        async def measure(scenario: str = scenario, place: str = place) -> Figures:
            async with session(context) as connect:
                return await measurement(scenario, name)(Bench(connect, runner, ports[place]))

        figures = runner.run(measure)
        assert isinstance(figures, dict)
        figures["cpu seconds"] = time.process_time() - cpu
        figures["peak megabytes"] = peak()
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), *sys.argv[3:])
