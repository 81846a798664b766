"""What `require` finds: files in the program's folder, and nowhere else."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final, final

from ._errors import JavaScriptError
from ._sources import Sources

_SUFFIXES: Final = ("", ".js", ".json", ".cjs")
_PACKAGES: Final = ("node_modules", "miniprogram_npm")


@final
class Modules:
    """The program's folder, which is that of the first file unless it is given."""

    def __init__(self, folder: Path | None, sources: Sources) -> None:
        self._folder = folder
        self._sources = sources

    def inline(self, source: str) -> dict[str, object]:
        """Return a text that is in no file; the program's folder is the current one then, where none was given."""
        self._folder = self._folder or Path.cwd()
        return self.source(str(self._folder / "<source>"), source)

    def open(self, path: Path) -> Path:
        """Return the whole path of a file that Python runs.

        Raises:
            JavaScriptError: It is not in the program's folder.
        """
        whole = path.resolve()
        if self._folder is None:
            self._folder = whole.parent
        if not whole.is_relative_to(self._folder):
            raise JavaScriptError(f"{path} is not in the program's folder, {self._folder}; give another one by folder=")
        return whole

    def resolve(self, requiring: str, name: str) -> str:
        """Return the path of what a file requires.

        Raises:
            JavaScriptError: There is no such file, or it is not in the program's folder.
        """
        for path in self._candidates(Path(requiring).parent, name):
            if os.path.isfile(path):  # noqa: PTH113 (Path's raises where the name is too long)
                whole = path.resolve()
                if self._folder is None or not whole.is_relative_to(self._folder):
                    raise JavaScriptError(
                        f"require({name!r}) of {self.name(requiring)} leads out of the program's folder, "
                        f"{self._folder}, and is refused"
                    )
                return str(whole)
        raise JavaScriptError(f"require({name!r}) of {self.name(requiring)} finds nothing; {self._looked_for(name)}")

    @staticmethod
    def _looked_for(name: str) -> str:
        if name.startswith((".", "/")):
            return "there is no such file, neither with .js or .json, nor a folder of that name with index.js"
        return "there is no such package in node_modules or miniprogram_npm; a file beside it is required as './...'"

    def _candidates(self, beside: Path, name: str) -> Iterator[Path]:
        if name.startswith("/"):
            yield from _files((self._folder or beside) / name.lstrip("/"))
        elif name.startswith("."):
            yield from _files(beside / name)
        else:
            inside = [one for one in (beside, *beside.parents) if self._folder and one.is_relative_to(self._folder)]
            for folder, packages in product(inside, _PACKAGES):
                yield from _files(folder / packages / name)

    def name(self, path: str) -> str:
        """Return how a file is named to people: from the program's folder on."""
        whole = Path(path)
        inside = self._folder is not None and whole.is_relative_to(self._folder)
        return whole.relative_to(self._folder).as_posix() if inside and self._folder else path

    def read(self, path: str) -> dict[str, object]:
        """Return a file as the prelude takes it.

        Raises:
            JavaScriptError: It cannot be read.
        """
        try:
            source = Path(path).read_text(encoding="utf-8-sig")
        except OSError as error:
            raise JavaScriptError(f"{path} cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise JavaScriptError(f"{path} is not in UTF-8") from error
        return self.source(path, source)

    def source(self, path: str, source: str) -> dict[str, object]:
        """Return a text as the prelude takes a file."""
        if source.startswith("#!"):
            source = "//" + source
        name = self.name(path)
        return {"path": path, "name": name, "source": source, "line": self._sources.add(name, source)}


def _files(path: Path) -> Iterator[Path]:
    """Return what a path may mean, in Node's order."""
    yield from (path.with_name(path.name + suffix) for suffix in _SUFFIXES)
    try:
        main = json.loads((path / "package.json").read_text(encoding="utf-8"))["main"]
    except (OSError, ValueError, LookupError, TypeError):
        main = None
    if isinstance(main, str):
        yield from ((path / main).with_name((path / main).name + suffix) for suffix in _SUFFIXES)
        yield path / main / "index.js"
    yield from (path / f"index{suffix}" for suffix in _SUFFIXES[1:])
