"""What the file of a method says of its settings, read as text: a wrong key needs no torch to be refused.

The file is parsed and never run, so only what stands there in so many words is known: the fields of
`Params` and of the classes it is made of, in `vedit.methods`, and `NEEDS`.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

from vedit.errors import nearest

HERE = os.path.dirname(__file__)
PACKAGE = "vedit.methods"


class Outline(NamedTuple):
    """The settings of a method, inherited ones first, each with the names that published code gives it; and
    its NEEDS.
    """

    fields: dict[str, tuple[str, ...]]
    needs: frozenset[str]

    def field(self, key: str) -> str | None:
        """The field that a key means, None where there is none."""
        key = key.replace("-", "_")
        return next((name for name, others in self.fields.items() if key == name or key in others), None)

    def mistakes(self, keys: Iterable[str]) -> list[str]:
        """A sentence for each key that is none."""
        return [
            no_key(key.replace("-", "_"), self.fields, self._spellings())
            for key in keys
            if not self.field(key)
        ]

    def _spellings(self) -> list[str]:
        return list(
            dict.fromkeys([*self.fields, *(other for them in self.fields.values() for other in them)])
        )


def no_key(key: str, fields: Iterable[str], spellings: Iterable[str]) -> str:
    """What is said of a key that is none of a method's."""
    return f"no key {key!r}{nearest(key, spellings) or '.'} There are {', '.join(sorted(fields))}."


def outline(method: str) -> Outline | None:
    """The outline of one of our own methods; None for one of another distribution."""
    name = method.replace("-", "_")
    try:
        tree = parsed(name)
        return Outline(dict(fields_of(name, "Params")), needs_of(tree))
    except (OSError, SyntaxError, LookupError, ValueError):
        return None


@cache
def parsed(module: str) -> ast.Module:
    with open(os.path.join(HERE, f"{module}.py"), encoding="utf-8") as file:
        return ast.parse(file.read())


def fields_of(module: str, name: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The fields of a class of a module, those it inherits first. Raises LookupError for a class that is not
    there.
    """
    tree = parsed(module)
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    if not found:
        raise LookupError(name)
    for base in found[0].bases:
        if isinstance(base, ast.Attribute) and isinstance(base.value, ast.Name):
            yield from fields_of(base.value.id, base.attr)
        elif isinstance(base, ast.Name) and base.id != "BaseModel":
            yield from fields_of(*origin(tree, module, base.id))
    for item in found[0].body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            yield item.target.id, tuple(aliases(item.value))


def origin(tree: ast.Module, module: str, name: str) -> tuple[str, str]:
    """The module of `vedit.methods` that a name comes from, and what it is called there."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{PACKAGE}."):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return str(node.module).removeprefix(f"{PACKAGE}."), alias.name
    return module, name


def aliases(value: ast.expr | None) -> Iterator[str]:
    """The texts of `validation_alias=AliasChoices(...)` in a field's value."""
    for keyword in value.keywords if isinstance(value, ast.Call) else ():
        if keyword.arg == "validation_alias" and isinstance(keyword.value, ast.Call):
            yield from (str(ast.literal_eval(argument)) for argument in keyword.value.args)


def needs_of(tree: ast.Module) -> frozenset[str]:
    """The texts of `NEEDS = frozenset({...})`."""
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
        if isinstance(target, ast.Name) and target.id == "NEEDS":
            call = node.value  # type: ignore[attr-defined]
            if not isinstance(call, ast.Call):
                raise LookupError("NEEDS")
            return frozenset(str(text) for part in call.args for text in ast.literal_eval(part))
    raise LookupError("NEEDS")
