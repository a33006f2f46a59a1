"""The words that branches share: captions of the clip, the instruction, and a prompt for each mode."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from vedit.documents import Kind, read_json, table
from vedit.errors import InputError, OutputError, UsageError, VeditError, option
from vedit.jobs.caption.request import CaptionRequest
from vedit.jobs.localize.recipe import Recipe
from vedit.jobs.localize.request import LocalizeRequest
from vedit.jobs.rewrite.request import RewriteOptions, RewriteRequest
from vedit.jobs.rewrite.run import Rewriter
from vedit.jobs.sink import Sink
from vedit.plain import digest, json_text

FILE = "words.json"
WORDS = Kind("the words of a localisation", InputError, "vedit localize writes them.")
Words = dict[str, Any]


def words_of(request: LocalizeRequest, recipe: Recipe, stride: int, sink: Sink) -> Words:
    """The words of a localisation: those that lie in the folder, else new ones, which are written there.

    asked: what they are for. caption, detailed, instruction; prompts: by mode, each with a target or an
    error. A person may change captions and targets in the file before the edits are made.

    Raises OutputError where the folder has words for something else; InputError, ModelError, RemoteError for
    a clip without a caption.
    """
    path = os.path.join(request.output_dir, FILE)
    asked = _asked(request, recipe)
    if os.path.exists(path):
        kept = table(read_json(path, WORDS), path, WORDS)
        if kept.get("asked") == asked:
            return _checked(kept, path)
        if not request.overwrite:
            raise OutputError(
                f"{request.output_dir} holds another localisation: {kept.get('instruction')!r}.",
                "",
                f"Name another folder, or replace it: {option('overwrite', True)}",
            )
    made = _made(request, recipe, stride, asked, sink)
    _write(path, made)
    return made


def _asked(request: LocalizeRequest, recipe: Recipe) -> str:
    """What decides the words, in short."""
    told = [
        os.path.abspath(request.input),
        instruction_of(request),
        request.source_prompt,
        dict(recipe.input),
        dict(recipe.caption),
        dict(recipe.rewrite),
        sorted({branch.rewrite for branch in recipe.branches}),
    ]
    return digest(told)


def instruction_of(request: LocalizeRequest) -> str:
    """What should become of the clip, in words. Raises UsageError."""
    if request.instruction:
        if request.to or request.origin or request.category:
            raise UsageError(
                f"{option('instruction')} says it all.",
                "",
                f"Leave out {option('to')}, {option('from')} and {option('category')}",
            )
        return request.instruction
    if not request.to:
        raise UsageError(
            "where the clip should go is missing.",
            "",
            f"Add {option('to', 'Japan')}, or {option('instruction')}",
        )
    if request.category:
        origin = f" from {request.origin} culture" if request.origin else ""
        return f"change {request.category}{origin} to {request.to} culture"
    return f"change it from {request.origin} to {request.to}" if request.origin else f"make it {request.to}"


def _made(request: LocalizeRequest, recipe: Recipe, stride: int, asked: str, sink: Sink) -> Words:
    short, detailed, who = captions(request, recipe, stride, sink)
    instruction = instruction_of(request)
    own = RewriteOptions.from_json({**recipe.rewrite, "device": request.device}, "rewrite")
    rewriter = Rewriter(own, sink)
    prompts: dict[str, Any] = {}
    for mode in sorted({branch.rewrite for branch in recipe.branches}):
        source = detailed if mode == "generate" else short
        given = {**own.json(), "mode": mode, "source": source, "instruction": instruction}
        try:
            prompts[mode] = rewriter.made(RewriteRequest.from_json(given, "rewrite"))
        except VeditError as error:
            prompts[mode] = {"source": source, "error": str(error)}
            sink.warn(f"no prompt for {mode}: {error.what}")
    return {
        "asked": asked,
        "input": request.input,
        "instruction": instruction,
        "caption": short,
        "detailed": detailed,
        "captioner": who,
        "prompts": prompts,
    }


def captions(
    request: LocalizeRequest, recipe: Recipe, stride: int, sink: Sink
) -> tuple[str, str, dict[str, Any]]:
    """The short and the detailed caption of the frames that are edited, and who says so."""
    from vedit.jobs.caption import captioners
    from vedit.jobs.caption.run import told_of

    if request.source_prompt:
        return request.source_prompt, request.source_prompt, {"name": "given"}
    frames = recipe.input.get("frames")
    given = {**recipe.caption, "inputs": [request.input], "frames": frames, "every": stride}
    asked = CaptionRequest.from_json({**given, "device": request.device}, "caption")
    captioner = captioners.opened(asked, sink.warn)
    try:
        told = told_of(request.input, asked, captioner, ("short", "detailed"), sink)
    except UsageError:  # one that has a single kind of caption
        told = told_of(request.input, asked, captioner, ("short",), sink)
    return told[0].clip, told[-1].clip, captioner.facts()


def _checked(words: Words, path: str) -> Words:
    """Words as they were written, or as a person changed them. Raises InputError."""
    texts = [words.get(key) for key in ("caption", "detailed", "instruction")]
    prompts = words.get("prompts")
    if not all(isinstance(text, str) and text.strip() for text in texts) or not isinstance(prompts, dict):
        raise WORDS.refusal(path, "caption, detailed, instruction or prompts is missing")
    for mode, made in prompts.items():
        target = made.get("target", "") if isinstance(made, dict) else None
        if not isinstance(target, str):
            raise WORDS.refusal(path, f"the target of {mode} is not a text")
    return words


def target_of(words: Mapping[str, Any], mode: str) -> str:
    """The prompt of a mode. Raises UsageError where there is none."""
    made = words["prompts"].get(mode, {})
    if not made.get("target"):
        raise UsageError(
            f"there is no prompt for {mode}: {made.get('error', 'it is not in the words')}",
            "",
            f"Write one into {FILE} under prompts.{mode}.target, and call again",
        )
    return str(made["target"])


def _write(path: str, words: Words) -> None:
    from vedit.media.atomic import make_folder, open_output

    make_folder(os.path.dirname(path) or ".")
    with open_output(path) as stream:
        stream.write((json_text(words, indent=1) + "\n").encode("utf-8", "surrogateescape"))
