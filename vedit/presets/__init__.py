"""Named settings: TOML files that ship with vedit or lie in the user's folder.

    # ~/.config/vedit/presets/web-small.toml
    kind = "chain"
    summary = "At most 480 pixels wide, without metadata."

    [[stage]]
    name = "resize"
    width = 480
    only-shrink = true

A preset of kind "chain" lists stages of `vedit gif chain`; the keys of a stage table are the
options of the command with that name. One of kind "method" names an editing method, and its other
keys are the method's parameters. One of kind "train" has the tables that decide a generator and its
training. One of kind "embedded" says how a stage of the embedded models is trained. A file is read
with every mistake in it reported at once.

Where a value comes from, strongest first: option, environment (VEDIT_GIF_RESIZE_FILTER),
preset, user config, built-in default.
"""

from __future__ import annotations

from vedit.presets.files import (
    PRESET,
    SUFFIX,
    Preset,
    check,
    document_of,
    find,
    load,
    load_chain,
    load_embedded,
    load_method,
    load_train,
    paths,
    save,
    shipped_folder,
    user_folder,
)
from vedit.presets.kinds.chain import (
    Chain,
    Setting,
    as_text,
    as_value,
    change,
    document_from,
    resolve_chain,
    resolve_stage,
)
from vedit.presets.kinds.embedded import EMBEDDED_KEYS
from vedit.presets.kinds.method import parameters

__all__ = [
    "EMBEDDED_KEYS",
    "PRESET",
    "SUFFIX",
    "Chain",
    "Preset",
    "Setting",
    "as_text",
    "as_value",
    "change",
    "check",
    "document_from",
    "document_of",
    "find",
    "load",
    "load_chain",
    "load_embedded",
    "load_method",
    "load_train",
    "parameters",
    "paths",
    "resolve_chain",
    "resolve_stage",
    "save",
    "shipped_folder",
    "user_folder",
]
