"""A job as plain data: what every face hands to the library, a run record keeps, and a batch reads row by
row.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import cache
from typing import Any, Self, cast


class Request:
    """What frozen records of plain values have in common: JSON, and back to an equal one.

    Fields hold texts, numbers, true or false, None, tuples of these, and tables from text to these. They are
    those of a frozen dataclass, or of a named tuple where a start must cost next to nothing.
    """

    # without an annotation, which pydantic would take for one more field of a named tuple
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    def json(self) -> dict[str, Any]:
        """The request as JSON has it: tuples are lists."""
        return {name: _plain(getattr(self, name)) for name in field_names(type(self))}

    @classmethod
    def from_json(cls, table: Mapping[str, Any], name: str = "the request") -> Self:
        """The request that `json` told of; what it lacks has its default.

        name: of the table, for messages. Raises UsageError, with the nearest spelling for a key that is
        unknown.
        """
        from vedit.documents import Kind, validated
        from vedit.errors import UsageError, nearest, refuse_mistakes

        known = field_names(cls)
        refuse_mistakes(
            name, [f"no key {key!r}{nearest(key, known) or '.'}" for key in table if key not in known]
        )
        return validated(dict(table), cls, name, Kind(f"a {cls.__name__}", UsageError))


def field_names(kind: type[Request]) -> tuple[str, ...]:
    """The fields of a class of requests."""
    return _field_names(cast("Hashable", kind))


@cache
def _field_names(kind: Any) -> tuple[str, ...]:
    if issubclass(kind, tuple):
        return tuple(kind._fields)  # of a named tuple
    from dataclasses import fields

    return tuple(field.name for field in fields(kind))  # subclasses are dataclasses


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, int, float)):  # as most are
        return value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
