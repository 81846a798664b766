"""The command line: ``python -m trio_socket_task``, or ``trio-socket-task``."""

from __future__ import annotations

import sys

from ._cli._parser import main

if __name__ == "__main__":
    sys.exit(main())
