"""What must not be shown or written down: passwords in addresses, and values that a key's name goes with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
LOGIN = re.compile(r"(?<=://)[^/\s'\"]*@")  # also of passwords that hold an @
SECRET = re.compile(r"key|token|secret|passw|auth|credential|cookie|signature", re.IGNORECASE)


def without_login(text: str) -> str:
    """A text whose addresses name no user and no password."""
    return LOGIN.sub(f"{HIDDEN}@", text)


def address(text: str) -> str:
    """An address, with a scheme or without, that shows neither its login nor its query."""
    place = text.partition("?")[0]
    scheme, mark, rest = place.rpartition("://")
    _, at, host = rest.rpartition("@")
    return f"{scheme}{mark}{HIDDEN}@{host}" if at else place


def without(value: Any, secret: str) -> Any:
    """A value of JSON in which a secret is hidden wherever it stands; "" hides nothing."""
    if not secret:
        return value
    if isinstance(value, str):
        return value.replace(secret, HIDDEN)
    if isinstance(value, Mapping):
        return {without(key, secret): without(item, secret) for key, item in value.items()}
    return [without(item, secret) for item in value] if isinstance(value, list) else value


def without_values(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a form as they may be written down: those that are called a key or a password without their
    value.
    """
    return {name: HIDDEN if SECRET.search(name) else value for name, value in fields.items()}
