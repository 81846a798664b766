"""A mini program's JavaScript, as it is written, in an engine of its own and on Trio's clock.

async with open_javascript("wx", map={"wss://api.example.com": server.url}) as program:
    await program.run("app.js")
    await program.wait_idle()
    print(program.console[-1])
"""

from __future__ import annotations

from ._console import Console, ConsoleLine
from ._errors import JavaScriptError
from ._open import open_javascript
from ._program import JavaScriptProgram

__all__ = ["Console", "ConsoleLine", "JavaScriptError", "JavaScriptProgram", "open_javascript"]

for _public in (globals()[_name] for _name in __all__):
    _public.__module__ = __name__
del _public
