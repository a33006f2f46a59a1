"""The parameters that an edit gives its method: the preset's, then those set by name, then options such as
steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vedit import methods
from vedit.errors import UsageError, option, refuse_mistakes
from vedit.methods.outline import outline
from vedit.models.hub import EMBEDDED, EMBEDDED_MOTION, EMBEDDED_VIDEO, layout_named
from vedit.models.layout import LTX, SDXL, SVD, WAN
from vedit.models.sd import single_file

OWN_OPTIONS = {
    "steps": "steps",
    "guidance": "guidance",
    "negative": "negative_prompt",
    "strength": "strength",
    "backend": "backend",
}


def method_params(
    method: str, preset: str | None, settings: Mapping[str, Any], model: str, **options: Any
) -> dict[str, Any]:
    """The method's parameters, checked before a model is loaded.

    preset: None for the method's own (see `own_preset`), "" for none. settings: by key. options: those of
    OWN_OPTIONS that were given, None for the others. Raises UsageError.
    """
    from vedit.presets import load_method

    refuse_unknown(method, settings, options)
    own = own_preset(method, model, backend=options.get("backend") or settings.get("backend"))
    values = {} if preset == "" else load_method(method, preset or own, required=preset is not None)
    from vedit.methods.params import canonical, read_params

    params = methods.load(method).Params
    values = {canonical(params, key): value for key, value in values.items()}
    values.update((canonical(params, key), value) for key, value in settings.items())
    for name, value in options.items():
        if value is not None:
            values[OWN_OPTIONS[name]] = value
    read_params(params, values, f"{method} parameters")
    return values


def own_preset(method: str, model: str, backend: Any = None) -> str:
    """The preset that a method has of its own for a model: METHOD-shapes with the embedded one, with its
    motion adapter or without, METHOD-shapes-video with the embedded video model, METHOD-wan with those of
    Wan's layout, METHOD-ltx with LTX-Video, METHOD-sdxl with Stable Diffusion XL, METHOD-svd with Stable
    Video Diffusion; METHOD for the others, and where there is no such preset. A released editor has one by
    its name, whatever the model.
    """
    from vedit.presets import paths

    if method == "instruct":
        own = f"{method}-{backend or 'ip2p'}"
        return own if own in paths() else method
    if model in (EMBEDDED, EMBEDDED_MOTION):
        return f"{method}-{EMBEDDED}"
    named = [f"{method}-{model}"] if model == EMBEDDED_VIDEO else []
    layout = single_file.layout(model) if single_file.is_file(model) else layout_named(model)
    named += [f"{method}-{layout.name}"] if layout in (SDXL, WAN, LTX, SVD) else []
    return next((name for name in named if name in paths()), method)


def own_model(method: str, settings: Mapping[str, Any], model: str) -> str:
    """The model that a method works on, where nobody names another than the embedded picture model: easyv2v
    takes the backbone of its weights, and what is for layers over frames the model with its motion adapter.
    """
    if model == EMBEDDED and "temporal" in (needs := needs_of(method)) and "first frame" not in needs:
        return EMBEDDED_MOTION
    if model != EMBEDDED or method != "easyv2v":
        return model
    from vedit.models.wan.weights import find_weights, read_recipe

    return read_recipe(find_weights(str(settings.get("weights", "")))).backbone


def refuse_unknown(method: str, settings: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Refuse keys and options that the method does not have, before anything heavy is imported for its
    values.
    """
    for name, value in options.items():
        if value is not None:
            check_own(method, name, value)
    if told := outline(method):
        refuse_mistakes(f"{method} parameters", told.mistakes(settings))


def needs_of(method: str) -> frozenset[str]:
    """What a method needs, by its file where that is ours."""
    told = outline(method)
    if told:
        return told.needs
    return frozenset(methods.load(method).NEEDS) if methods.has(method) else frozenset()


def keys_of(method: str) -> list[str]:
    """The parameters of a method."""
    told = outline(method)
    return list(told.fields if told else methods.load(method).Params.model_fields)


def check_own(method: str, name: str, value: Any) -> None:
    """Refuse an option that the method has no parameter for, naming what it has instead."""
    keys = keys_of(method)
    if OWN_OPTIONS[name] in keys:
        return
    if name == "steps" and "iterations" in keys:
        raise UsageError(
            f"{method} has no {option('steps')}: it takes iterations.",
            "",
            f"Try {option('set.iterations', value)}",
        )
    able = [other for other in methods.names() if OWN_OPTIONS[name] in keys_of(other)]
    raise UsageError(
        f"{method} has no {option(name)}.",
        f"It is for {', '.join(able)}.",
        f"Parameters of {method}: {', '.join(keys)}",
    )
