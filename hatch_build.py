"""The README as a package index shows it: links go to the project's address, or are left out where it has none."""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

_PICTURE = re.compile(r"<picture>.*?</picture>\n*|!\[[^]]*\]\((?!https?:)[^)]+\)\n*", re.DOTALL)
_LINK = re.compile(r"(?<!!)\[([^]]*)\]\((?!https?:|#)([^)]+)\)")


def for_index(readme: str, address: str | None) -> str:
    """Return the README with links and pictures that lead to the address; without one, with neither."""
    if address is None:
        return _LINK.sub(r"\1", _PICTURE.sub("", readme))
    address = address.rstrip("/")
    readme = _LINK.sub(rf"[\1]({address}/blob/HEAD/\2)", readme)
    return re.sub(r'((?:src|srcset)="|!\[[^]]*\]\()(?=docs/)', rf"\1{address}/raw/HEAD/", readme)


class ReadmeHook(MetadataHookInterface):
    """Put it into the metadata."""

    def update(self, metadata: dict[str, object]) -> None:
        """Set the field `readme`; the address is `Source` in pyproject's table `project.urls`."""
        urls = metadata.get("urls")
        address = urls.get("Source") if isinstance(urls, dict) else None
        text = for_index((Path(self.root) / "README.md").read_text(encoding="utf-8"), address)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
