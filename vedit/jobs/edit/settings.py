"""The parameters that an edit gives its method: the preset's, then those set by name, then options such as
steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vedit import methods
from vedit.errors import UsageError, option
from vedit.models.hub import EMBEDDED

OWN_OPTIONS = {
    "steps": "steps",
    "guidance": "guidance",
    "negative": "negative_prompt",
    "strength": "strength",
}


def method_params(
    method: str, preset: str | None, settings: Mapping[str, Any], model: str, **options: Any
) -> dict[str, Any]:
    """The method's parameters, checked before a model is loaded.

    preset: None for the method's own (METHOD-shapes with the embedded model, where there is one), "" for
    none. settings: by key. options: those of OWN_OPTIONS that were given, None for the others. Raises
    UsageError.
    """
    from vedit.methods.base import canonical, read_params
    from vedit.presets import load_method

    params = methods.load(method).Params
    own = f"{method}-shapes" if model == EMBEDDED else method
    values = {} if preset == "" else load_method(method, preset or own, required=preset is not None)
    values = {canonical(params, key): value for key, value in values.items()}
    values.update((canonical(params, key), value) for key, value in settings.items())
    for name, value in options.items():
        if value is not None:
            check_own(method, params, name, value)
            values[OWN_OPTIONS[name]] = value
    read_params(params, values, f"{method} parameters")
    return values


def check_own(method: str, params: Any, name: str, value: Any) -> None:
    """Refuse an option that the method has no parameter for, naming what it has instead."""
    if OWN_OPTIONS[name] in params.model_fields:
        return
    if name == "steps" and "iterations" in params.model_fields:
        raise UsageError(
            f"{method} has no {option('steps')}: it takes iterations.",
            "",
            f"Try {option('set.iterations', value)}",
        )
    able = [
        other for other in methods.names() if OWN_OPTIONS[name] in methods.load(other).Params.model_fields
    ]
    raise UsageError(
        f"{method} has no {option(name)}.",
        f"It is for {', '.join(able)}.",
        f"Parameters of {method}: {', '.join(params.model_fields)}",
    )
