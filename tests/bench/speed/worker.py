"""One client's process: told a scenario a line on its standard input, it answers with a line of figures."""

from __future__ import annotations

import json
import resource
import ssl
import sys
import time

from clients import CLIENTS
from scenarios import LIMITS, SCENARIOS, Bench, Figures


def main(name: str, ports: dict[str, int], certificate: str) -> None:
    """Serve the harness."""
    connect, runner, _ = CLIENTS[name]
    context = ssl.create_default_context(cafile=certificate)
    bench = Bench(connect, runner, ports, context)
    scenarios = LIMITS if name.startswith("raw") else SCENARIOS
    for line in sys.stdin:
        scenario = scenarios[json.loads(line)]
        cpu = time.process_time()

        async def measure() -> Figures:
            return await scenario(bench)  # noqa: B023 (it has run before the next)

        figures = runner.run(measure)
        assert isinstance(figures, dict)
        figures["cpu seconds"] = time.process_time() - cpu
        figures["peak megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
