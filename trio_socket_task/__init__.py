"""SocketTasks on Trio: WebSocket connections as structured concurrency.

async with connect_socket("wss://example.org/chat") as task:
    await task.send("hello")
    async for data in task:
        print(data)
"""

from __future__ import annotations

from types import FunctionType

from ._compression import PerMessageDeflate
from ._connect import connect_socket
from ._dial import Dial
from ._errors import (
    ConnectError,
    ConnectTimeoutError,
    GaveUpError,
    HandshakeError,
    InvalidOptionsError,
    OutboxFullError,
    SocketClosedError,
    SocketLimitError,
    SocketLostError,
    SocketNotOpenError,
    SocketTaskError,
)
from ._events import (
    Attempt,
    CloseCode,
    CloseEvent,
    ErrorEvent,
    Header,
    ListenerStatistics,
    MessageEvent,
    OpenEvent,
    SocketEvent,
    SocketStatistics,
    TlsInfo,
)
from ._manager import SocketManager, open_socket_manager
from ._options import ConnectOptions, Heartbeat
from ._policy import Coexist, CoexistencePolicy, ReplacePrevious, policy_for_base_library
from ._protocol._state import ReadyState
from ._resilient._backoff import Backoff
from ._resilient._open import open_resilient_socket
from ._resilient._outbox import Outbox
from ._resilient._proof import Acknowledgement
from ._resilient._reports import ConnectionState, ResilientStatistics, StateEvent, UndeliveredEvent
from ._resilient._retry import Retry, retry_by_evidence
from ._resilient._socket import ResilientSocket
from ._session._listener import Listener
from ._socket_task import SocketTask
from ._version import __version__

__all__ = [
    "Acknowledgement",
    "Attempt",
    "Backoff",
    "CloseCode",
    "CloseEvent",
    "Coexist",
    "CoexistencePolicy",
    "ConnectError",
    "ConnectOptions",
    "ConnectTimeoutError",
    "ConnectionState",
    "Dial",
    "ErrorEvent",
    "GaveUpError",
    "HandshakeError",
    "Header",
    "Heartbeat",
    "InvalidOptionsError",
    "Listener",
    "ListenerStatistics",
    "MessageEvent",
    "OpenEvent",
    "Outbox",
    "OutboxFullError",
    "PerMessageDeflate",
    "ReadyState",
    "ReplacePrevious",
    "ResilientSocket",
    "ResilientStatistics",
    "Retry",
    "SocketClosedError",
    "SocketEvent",
    "SocketLimitError",
    "SocketLostError",
    "SocketManager",
    "SocketNotOpenError",
    "SocketStatistics",
    "SocketTask",
    "SocketTaskError",
    "StateEvent",
    "TlsInfo",
    "UndeliveredEvent",
    "__version__",
    "connect_socket",
    "open_resilient_socket",
    "open_socket_manager",
    "policy_for_base_library",
    "retry_by_evidence",
]

for _public in (globals()[_name] for _name in __all__):
    if isinstance(_public, type | FunctionType):
        _public.__module__ = __name__
del _public
