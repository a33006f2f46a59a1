"""Find stages, methods, metrics and remotes by listing a folder and the installed entry points.

Listing costs no import of what is listed: modules are found by file name, and entry points by
reading `entry_points.txt` files directly, since `importlib.metadata` costs more than a crop.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from functools import cache
from types import ModuleType

from vedit.errors import UsageError, nearest


class Registry:
    """The modules of one package folder plus one entry-point group.

    skip: modules of the folder that are shared code, not entries.
    """

    def __init__(self, package: str, path: Iterable[str], group: str, skip: tuple[str, ...] = ()) -> None:
        self.package = package
        self.path = path
        self.group = group
        self.skip = skip
        self.files: dict[str, ModuleType] = {}  # of files that a user named, by names with dashes

    def names(self) -> list[str]:
        """All names, sorted; as typed, so with dashes."""
        return sorted({*self._own(), *self._foreign(), *self.files})

    def has(self, name: str) -> bool:
        """Whether the name is known; our own are looked up without reading entry points."""
        return name in self.files or name in self._own() or name in self._foreign()

    def load(self, name: str) -> ModuleType:
        """Import the module of that name; a UsageError suggests the nearest one."""
        if name in self.files:
            return self.files[name]
        if name in self._own():
            return importlib.import_module(f"{self.package}.{name.replace('-', '_')}")
        foreign = self._foreign()
        if name in foreign:
            return importlib.import_module(foreign[name])
        noun = self.package.rpartition(".")[2].removesuffix("s")
        raise UsageError(
            f"there is no {noun} called {name!r}{nearest(name, self.names())}",
            f"There are: {', '.join(self.names())}.",
        )

    def summary(self, name: str) -> str:
        """The line `SUMMARY = "..."` of a module; of ours read as text, which is quicker than an import."""
        for folder in self.path:
            try:
                with open(os.path.join(folder, f"{name.replace('-', '_')}.py"), encoding="utf-8") as file:
                    line = next((line for line in file if line.startswith('SUMMARY = "')), None)
            except OSError:
                continue
            if line and line.endswith('"\n'):
                return line[11:-2]
        return str(self.load(name).SUMMARY)

    @cache  # noqa: B019  # one per package, for the life of the process
    def _own(self) -> list[str]:
        found = []
        for folder in self.path:
            for file in os.listdir(folder):
                stem, suffix = os.path.splitext(file)
                if suffix == ".py" and not stem.startswith("_") and stem not in self.skip:
                    found.append(stem.replace("_", "-"))
        return found

    @cache  # noqa: B019
    def _foreign(self) -> dict[str, str]:
        """Entry points of the group: name to module. `sys.path` folders hold `*.dist-info`."""
        found = {}
        for folder in sys.path:
            try:
                entries = [entry.path for entry in os.scandir(folder) if entry.name.endswith(".dist-info")]
            except OSError:
                continue
            for path in entries:
                try:
                    with open(os.path.join(path, "entry_points.txt"), encoding="utf-8") as file:
                        found.update(_section(file.read(), self.group))
                except OSError:
                    continue
        return found


def _section(text: str, group: str) -> dict[str, str]:
    """The `name = module` lines of one section of an ini text."""
    result, inside = {}, False
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("["):
            inside = line == f"[{group}]"
        elif inside and "=" in line:
            name, _, target = line.partition("=")
            result[name.strip()] = target.partition(":")[0].strip()
    return result
