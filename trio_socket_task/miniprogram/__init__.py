"""The two vendors' APIs, word for word: mini-program code runs as it is written.

async with open_mini_program("wx") as wx:
    task = wx.connectSocket({"url": "wss://example.qq.com", "protocols": ["protocol1"]})
    task.onOpen(lambda res: task.send({"data": "hello"}))
    task.onMessage(lambda res: print(res["data"]))
    await wx.wait_closed()
"""

from __future__ import annotations

from ._outcome import Outcome
from ._program import MiniProgram, open_mini_program
from ._task import SocketTask
from ._values import CloseResult, ErrorResult, MessageResult, OpenResult, Profile, Result

__all__ = [
    "CloseResult",
    "ErrorResult",
    "MessageResult",
    "MiniProgram",
    "OpenResult",
    "Outcome",
    "Profile",
    "Result",
    "SocketTask",
    "open_mini_program",
]

for _public in (globals()[_name] for _name in __all__):
    _public.__module__ = __name__
del _public
