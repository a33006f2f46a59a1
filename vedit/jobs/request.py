"""A job as plain data: what every face hands to the library, a run record keeps, and a batch reads row by
row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar, Self

from vedit.documents import Kind, validated
from vedit.errors import UsageError, nearest, refuse_mistakes


class Request:
    """What frozen dataclasses of plain values have in common: JSON, and back to an equal one.

    Fields hold texts, numbers, true or false, None, tuples of these, and tables from text to these.
    """

    __pydantic_config__: ClassVar[Mapping[str, Any]] = {"extra": "forbid"}

    def json(self) -> dict[str, Any]:
        """The request as JSON has it: tuples are lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]  # subclasses are dataclasses

    @classmethod
    def from_json(cls, table: Mapping[str, Any], name: str = "the request") -> Self:
        """The request that `json` told of; what it lacks has its default.

        name: of the table, for messages. Raises UsageError, with the nearest spelling for a key that is
        unknown.
        """
        known = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        refuse_mistakes(
            name, [f"no key {key!r}{nearest(key, known) or '.'}" for key in table if key not in known]
        )
        return validated(dict(table), cls, name, Kind(f"a {cls.__name__}", UsageError))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (tuple, list)) else value
