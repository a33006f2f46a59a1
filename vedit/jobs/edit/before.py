"""What an edit can be refused for before its model is loaded: the clip, sizes, words, masks. Loads no torch.

A clip keeps its aspect and its size. The network works on it at a width and height of its own,
mostly with the shorter side that it was trained at; sides that are not whole cells of the latent
are filled up inside, cut off again behind, and the result is scaled back.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from vedit.errors import InputError, UsageError, option
from vedit.jobs.clips import Selection, size_of
from vedit.jobs.edit.request import ClipRequest, EditRequest
from vedit.models.hub import OURS

Size = tuple[int, int]
LARGEST_SIDE = 16384
OUTPUTS = ("source", "worked")
QUOTED = '"make the circle blue"'  # an instruction, as it is typed


class Asked(NamedTuple):
    """Which frames the user wants, and at which size.

    size: the shorter side that is worked on, or width and height; None for the model's own side.
    crop: "square" takes the centre square, as the thesis does. output: "source" writes the clip's own
    size, or its square's; "worked" the size that was worked on; or a width and height.
    """

    start: int = 0
    stride: int = 1
    frames: int | None = None
    size: int | Size | None = None
    crop: str = "none"
    output: str | Size = "source"

    def of(self, source: Size, native: int) -> Selection:
        """The selection of a clip of a width and height, for a model trained at a side."""
        whole = (min(source),) * 2 if self.crop == "square" else source
        if isinstance(self.size, tuple):
            worked: int | Size = self.size
        elif self.crop == "square":
            worked = self.size or native
        else:
            worked = with_short_side(source, self.size or native)
        selection = Selection(self.start, self.stride, self.frames, worked)
        output = (
            {"source": whole, "worked": None}[self.output] if isinstance(self.output, str) else self.output
        )
        return selection if output == selection.shape else selection._replace(output=output)


def with_short_side(size: Size, side: int) -> Size:
    """A width and height with the same aspect and a shorter side."""
    short = min(size)
    width, height = ((2 * length * side + short) // (2 * short) for length in size)  # to the nearest
    return width, height


def parse_size(text: str | None, name: str = "size") -> int | Size | None:
    """`512` for a side, `640x384` for width and height. Raises UsageError."""
    if text is None:
        return None
    width, cross, height = text.lower().partition("x")
    if not (width.isascii() and width.isdigit()) or (cross and not (height.isascii() and height.isdigit())):
        raise UsageError(
            f"{option(name, text)} is not a size.",
            "Give a side such as 512, or WIDTHxHEIGHT such as 640x384.",
        )
    sides = [int(part) for part in (width, height) if part]
    if min(sides) < 1 or max(sides) > LARGEST_SIDE:
        raise UsageError(
            f"{option(name, text)} is not a size that can be worked on.",
            f"Sides are 1 to {LARGEST_SIDE} pixels.",
            f"Try {option(name, '512')}",
        )
    return (sides[0], sides[1]) if cross else sides[0]


def parse_output(text: str) -> str | Size:
    """`source`, `worked` or a width and height. Raises UsageError."""
    if text in OUTPUTS:
        return text
    size = parse_size(text, "output_size") if "x" in text.lower() else None
    if not isinstance(size, tuple):
        raise UsageError(
            f"{option('output_size', text)} is not a size.",
            f"It is {', '.join(OUTPUTS)}, or WIDTHxHEIGHT such as 640x384.",
        )
    return size


def asked_of(request: ClipRequest) -> Asked:
    """What a request says of frames and sizes. Raises UsageError."""
    size, output = request.size, request.output_size if isinstance(request, EditRequest) else "source"
    side = size if isinstance(size, tuple) else parse_size(None if size is None else str(size))
    return Asked(
        request.start,
        request.stride,
        request.frames,
        side,
        request.crop,
        output if isinstance(output, tuple) else parse_output(output),
    )


def check_clip(name: str) -> Size | None:
    """Width and height of the clip; None for standard input, which is read once.

    Raises InputError for one that is not there or is no clip.
    """
    return None if name == "-" else size_of(name)


def check_file(path: str | None, name: str) -> None:
    """Refuse a file of an option that is not there."""
    if path is not None and not os.path.exists(path):
        raise InputError(f"{option(name, path)}: there is no such file.", "", "Check the name")


def check_prompts(model: str, prompts: Sequence[str]) -> None:
    """Refuse words that the embedded model has never seen, before it makes a smear of them."""
    if model in OURS:
        from vedit.data.grammar import check_words

        for prompt in prompts:
            check_words(prompt)


def follows_instructions(method: str) -> bool:
    """Whether the prompt of a method is an instruction."""
    return "instruction" in needs_of(method)


def needs_of(method: str) -> frozenset[str]:
    """What a method needs, by its file where that is ours. Raises UsageError for one that is not there."""
    from vedit import methods
    from vedit.methods.outline import outline

    told = outline(method)
    return told.needs if told else frozenset(methods.load(method).NEEDS)


def check_first_frame(request: EditRequest, params: Mapping[str, Any]) -> None:
    """Refuse an edit by its first frame that has none, or two. Raises UsageError."""
    if "first frame" not in needs_of(request.method):
        return
    model = params.get("frame_model")
    if request.ref is not None and request.set.get("frame_model"):
        raise UsageError(
            f"{option('ref')} is the edited first frame, and {option('set.frame_model', model)} would edit"
            " it.",
            "Give one of them.",
        )
    edits = str(params.get("frame_method", "p2p"))
    if request.ref is None and not model and edits != "instruct":  # its editors bring their own
        raise UsageError(
            f"{request.method} needs the clip's first frame as it should look.",
            f"It is a picture, {option('ref', 'FILE')}; or another method makes it, of the models it runs on:"
            f" {option('set.frame_method', 'p2p')} {option('set.frame_model', 'OWNER/NAME')}.",
            f"Add {option('ref', 'edited.png')}",
        )
    if request.ref is None and "first frame" in needs_of(edits):
        raise UsageError(
            f"{option('set.frame_method', edits)} needs an edited first frame itself.",
            "",
            f"Try {option('set.frame_method', 'p2p')}",
        )


def prompts_of(request: EditRequest) -> tuple[str, ...]:
    """The prompts of a request that say what a clip shows; an instruction does not."""
    if follows_instructions(request.method):
        return ()
    return (request.source_prompt, request.prompt or "")


def check_instruction(request: EditRequest) -> None:
    """Refuse what does not go with an instruction, or with a method that follows none. Raises UsageError."""
    is_followed = follows_instructions(request.method)
    for name in ("ref", "ref_from", "ref_edit"):
        if name == "ref" and "first frame" in needs_of(request.method):
            continue
        if getattr(request, name) is not None and not is_followed:
            raise UsageError(
                f"{option(name)} is for a method that follows an instruction, and {request.method} does not.",
                "A picture is also the edited first frame of anyv2v, and for the look of one there is"
                f" {option('image_prompt', 'FILE')}."
                if name == "ref"
                else "",
                f"Try {option('method', 'easyv2v')} {option('instruction', 'TEXT')}",
            )
    if request.ref is not None and request.ref_from is not None:
        raise UsageError(
            f"{option('ref')} and {option('ref_from')} were given together.", "Give one of them."
        )
    if (request.ref_from is None) != (request.ref_edit is None):
        missing = "ref_edit" if request.ref_edit is None else "ref_from"
        raise UsageError(
            f"{option('ref_from')} and {option('ref_edit')} go together: a frame, and what is done to it.",
            "",
            f"Add {option(missing, 0 if missing == 'ref_from' else QUOTED)}",
        )
    if is_followed and request.source_prompt:
        raise UsageError(
            f"{request.method} follows an instruction, and needs no {option('source_prompt')}.",
            "",
            f"Leave out {option('source_prompt')}",
        )


def chooser(asked: Asked, native: int, masks: Sequence[str]) -> Callable[[Size], Selection]:
    """From the clip's size to the selection; masks that do not fit it are refused there."""
    from vedit.jobs.masks import check_specs

    def choose(source: Size) -> Selection:
        selection = asked.of(source, native)
        check_specs(masks, selection.shown)
        return selection

    return choose
