"""The pairs that can be made: for each kind, the items from the user's files, from a manifest, or drawn."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import MinLen
from typing_extensions import TypedDict

from vedit.data.kinds_of_pairs import CONTROLS, KINDS
from vedit.data.layout import clip_name, read_captions, unique
from vedit.data.pairs import Pair, read_pairs
from vedit.documents import Kind, read_json_lines, validated
from vedit.errors import InputError, UsageError, Warn, option, silent
from vedit.jobs.clips import Selection, read_pixels
from vedit.jobs.data import pairs
from vedit.jobs.data.pairs import DRAWN_LICENCE, Item, Made, Outcome
from vedit.jobs.request import Request
from vedit.jobs.watch import Watch, unwatched
from vedit.media.formats import CLIP_SUFFIXES

if TYPE_CHECKING:
    import numpy as np

    from vedit.data.edits import DrawnEdits

SAME_DB = 45.0  # an edit that changes less has not been made
WORDINGS = 3  # of a drawn pair
TRIES = 64  # until a drawn edit shows
CAPTIONED = Kind(
    "clips with captions in time",
    right='Each line is {"clip": FILE, "captions": [[BEGIN, END, "a dog running"], ...]}, times in seconds.',
    largest=2**28,
    names_files=True,
)


@dataclass(frozen=True, kw_only=True)
class PairsRequest(Request):
    """Pairs of one kind.

    source: a folder of clips (inverse, expert), pairs.jsonl (lift of their first frames, transition), or
    clips with captions in time (continuation); None with `synth`, which draws so many scenes instead.
    frames: of drawn and of lifted clips. controls: of inverse. ramp: frames that a transition takes at most.
    command: of an expert, with {input}, {output} and {instruction}; expert: what the record calls it;
    instructions: what it is told, each once for every clip. timeout_s: of a call of it. to: of the clips,
    apng keeps every pixel.
    """

    kind: str
    folder: str
    source: str | None = None
    synth: int | None = None
    seed: int = 0
    frames: int = 9
    controls: tuple[str, ...] = CONTROLS
    ramp: int = 2
    command: str | None = None
    expert: str | None = None
    instructions: tuple[str, ...] = ()
    timeout_s: float = 600.0
    licence: str = "unstated"
    limit: int | None = None
    to: str = "apng"
    overwrite: bool = False


def make_pairs(request: PairsRequest, warn: Warn = silent, watch: Watch = unwatched) -> Outcome:
    """Make the pairs that are asked for, or the rest of them. Raises UsageError, InputError, OutputError."""
    check(request)
    items = drawn_items(request) if request.synth is not None else BUILDERS[request.kind](request)
    chosen = pairs.each(iter(items), request.limit)
    if not chosen:
        raise InputError(f"{request.source}: nothing to make pairs of.", f"{SOURCES[request.kind]}.")
    told = {
        name: value
        for name, value in request.json().items()
        if name not in ("folder", "limit", "overwrite", "to")
    }
    return pairs.write_pairs(
        chosen, Path(request.folder), told, to=request.to, overwrite=request.overwrite, warn=warn, watch=watch
    )


SOURCES = {
    "inverse": "It takes a folder of clips",
    "lift": "It takes pairs.jsonl, of whose clips it takes the first frames",
    "continuation": f"It takes a file of lines. {CAPTIONED.right.removesuffix('.')}",
    "transition": "It takes pairs.jsonl",
    "expert": "It takes a folder of clips",
}
EXPERT = '"mytool --in {input} --out {output} --text {instruction}"'  # as they are typed
SNOW = '"make it snow"'
EXAMPLE = "vedit data edit-pairs transition --synth 100 OUT"


def check(request: PairsRequest) -> None:
    """Refuse what does not go together. Raises UsageError."""
    if request.kind not in KINDS:
        from vedit.errors import nearest

        raise UsageError(
            f"there is no kind of pairs called {request.kind!r}{nearest(request.kind, KINDS) or '.'}",
            f"There are {', '.join(KINDS)}.",
        )
    if (request.source is None) == (request.synth is None):
        what = "neither" if request.source is None else "both"
        raise UsageError(
            f"edit-pairs {request.kind} takes files or {option('synth')}, and {what} was given.",
            f"{SOURCES[request.kind]}.",
            f"Example: {EXAMPLE}",
        )
    needs_command = request.kind == "expert" and request.synth is None
    if needs_command != (request.command is not None):
        raise UsageError(
            f"{option('command')} is for edit-pairs expert on clips of your own."
            if not needs_command
            else "an expert is a command line of yours, and none is given.",
            "It has {input} and {output} where the names of files go, and {instruction}.",
            f"Add {option('command', EXPERT)}" if needs_command else "",
        )
    if needs_command and not request.instructions:
        raise UsageError(
            f"{option('instruction')} is missing: what the expert does, and the editor is to learn.",
            "",
            f"Add {option('instruction', SNOW)}",
        )
    for place in ("{input}", "{output}") if needs_command else ():
        if place not in str(request.command):
            raise UsageError(
                f"{option('command', request.command)} has no {place}.",
                "It stands for the file's name.",
                f"Such as {option('command', EXPERT)}",
            )
    if not request.controls:
        raise UsageError(
            f"{option('controls', '')} names no control.", f"There are {', '.join(CONTROLS)}.", "Leave it out"
        )
    if wrong := [control for control in request.controls if control not in CONTROLS]:
        raise UsageError(f"there is no control {wrong[0]!r}.", f"There are {', '.join(CONTROLS)}.")
    if request.frames < 2 and request.kind in ("transition", "continuation"):
        raise UsageError(f"{option('frames', request.frames)}: a {request.kind} needs two frames at least.")


def _rng(request: PairsRequest, name: str) -> random.Random:
    return random.Random(f"{request.seed}/{request.kind}/{name}")


# --- of files --------------------------------------------------------------------------------------


def _clips(request: PairsRequest) -> Iterator[tuple[str, str]]:
    """The clips of a folder: a name of each, and its path."""
    folder = str(request.source)
    if not os.path.isdir(folder):
        what = "it is a file" if os.path.exists(folder) else "there is no such folder"
        raise InputError(
            f"{folder}: {what}.",
            f"{SOURCES[request.kind]}.",
            "Put it into a folder of its own, and name that" if os.path.exists(folder) else "Check the name",
        )
    files = sorted(name for name in os.listdir(folder) if os.path.splitext(name)[1].lower() in CLIP_SUFFIXES)
    names = unique(clip_name(os.path.splitext(name)[0]) for name in files)
    yield from zip(names, (os.path.join(folder, file) for file in files), strict=True)


def _read(path: str, frames: int | None = None) -> tuple[np.ndarray, list[int]]:
    """All frames of a clip at its own size, with their delays."""
    pixels = read_pixels(path, lambda size: Selection(frames=frames, size=size))
    base = pixels.clip.timebase
    return pixels.frames_FYX3, [max(1, round(float(ticks * base) * 100)) for ticks in pixels.durations]


def inverse_items(request: PairsRequest) -> Iterator[Item]:
    """Each clip and each control, in both directions."""
    for name, path in _clips(request):
        caption = next(iter(read_captions(Path(path).with_suffix(".txt"))), "")
        for control in request.controls:
            for back in (False, True):

                def make(
                    path: str = path, control: str = control, back: bool = back, caption: str = caption
                ) -> Made:
                    frames, delays = _read(path)
                    return pairs.inverse(frames, delays, control, back=back, caption=caption)

                ident = f"{name}-{control}-{'back' if back else 'there'}"
                yield Item(ident, "inverse", f"vedit {control}", request.licence, make)


def _as_made(pair: Pair) -> Made:
    """A pair of a manifest in memory. Raises InputError where its clips do not fit each other."""
    import numpy as np

    (source, delays), (target, _) = _read(pair.source), _read(pair.target)
    count = min(len(source), len(target))
    if source.shape[1:] != target.shape[1:]:
        sizes = [f"{clip.shape[2]}x{clip.shape[1]}" for clip in (source, target)]
        raise InputError(f"{pair.id}: source and target are {' and '.join(sizes)}.", "They need one size.")
    mask = None
    if pair.mask is not None:
        shown, _ = _read(pair.mask)
        mask = (
            np.broadcast_to(shown[..., 0], (count, *shown.shape[1:3]))
            if len(shown) == 1
            else shown[:count, ..., 0]
        )
    reference = None if pair.reference is None else _read(pair.reference, 1)[0][0]
    return Made(source[:count], target[:count], delays[:count], pair.instructions, mask, reference)


def lift_items(request: PairsRequest) -> Iterator[Item]:
    """Each pair of pictures as one frame, and along a path."""
    for pair in read_pairs(Path(str(request.source))):
        licence = request.licence if request.licence != "unstated" else pair.licence
        name = clip_name(pair.id)
        yield Item(f"{name}-one", "lift", pair.expert, licence, partial(_single, pair))
        yield Item(f"{name}-path", "lift", pair.expert, licence, partial(_lifted, request, pair))


def _single(pair: Pair) -> Made:
    return pairs.single(_as_made(pair))


def _lifted(request: PairsRequest, pair: Pair) -> Made:
    return pairs.lifted(_as_made(pair), request.frames, _rng(request, pair.id))


def transition_items(request: PairsRequest) -> Iterator[Item]:
    """Each pair with its edit from a time on."""
    for pair in read_pairs(Path(str(request.source))):
        licence = request.licence if request.licence != "unstated" else pair.licence
        yield Item(clip_name(pair.id), "transition", pair.expert, licence, partial(_switched, request, pair))


def _switched(request: PairsRequest, pair: Pair) -> Made:
    return pairs.transition_drawn(_as_made(pair), request.ramp, _rng(request, pair.id))


# --- captions in time ------------------------------------------------------------------------------


ENDS_IN_E = {"arrang", "challeng", "chang", "exchang", "loung", "plung"}  # which "hang" and "sing" do not


class _Captioned(TypedDict):
    clip: Annotated[str, MinLen(1)]
    captions: Annotated[list[tuple[float, float, str]], MinLen(1)]


NO_VERB = {  # words in -ing that are things
    *("thing", "something", "nothing", "everything", "anything", "ring", "king", "string", "spring", "wing"),
    *("evening", "morning", "building", "ceiling", "painting", "clothing", "ping", "swing", "sling"),
    *("sing", "bring", "during"),
}


def imperative(caption: str) -> str:
    """A caption as an instruction: "a dog running left" is "make the dog run left".

    The first word in -ing that is not a thing is the verb; without one it is "continue with: CAPTION".
    """
    words = re.sub(r"[.!\s]+$", "", caption.strip()).split()
    place = next((at for at, word in enumerate(words) if _is_participle(word.lower())), None)
    if place is None or place == 0:
        return f"continue with: {' '.join(words)}"
    subject = words[:place]
    if subject[-1].lower() in ("is", "are", "was", "were"):
        subject = subject[:-1]
    if subject and subject[0].lower() in ("a", "an", "the", "some"):
        subject = subject[1:]
    return " ".join(["make the", *subject, base_form(words[place].lower()), *words[place + 1 :]])


def _is_participle(word: str) -> bool:
    return word.endswith("ing") and len(word) > 4 and word not in NO_VERB


def base_form(participle: str) -> str:
    """The verb of a participle, by the rules of English spelling: running, moving, jumping."""
    stem = participle.removesuffix("ing")
    if stem in ENDS_IN_E:
        return f"{stem}e"
    if len(stem) > 2 and stem[-1] == stem[-2] and stem[-1] not in "lsze":
        return stem[:-1]
    if stem[-1] in "vcu" or (stem[-1] in "szg" and stem[-2] in "aeiour" and not stem.endswith("ss")):
        return f"{stem}e"
    is_short = len(re.findall(r"[aeiouy]+", stem)) == 1 and re.search(
        r"(?:^|[^aeiou])[aeiou][^aeiouwxy]$", stem
    )
    return f"{stem}e" if is_short else stem


def continuation_items(request: PairsRequest) -> Iterator[Item]:
    """Of each clip, each caption but what nothing came before."""
    path = Path(str(request.source))
    number = 0
    for line, found in read_json_lines(path, CAPTIONED):
        record = validated(found, _Captioned, f"{path}: line {line}", CAPTIONED)
        clip = str(path.parent / record["clip"])
        for begin, end, caption in record["captions"]:
            if begin > 0:
                make = partial(_continued, clip, begin, end, caption)
                yield Item(pairs.named(number), "continuation", "", request.licence, make)
                number += 1


def _continued(clip: str, begin: float, end: float, caption: str) -> Made:
    """The part of a clip before an interval, and the part inside, of one length. Raises InputError."""
    frames, delays = _read(clip)
    at = 0.0
    before: list[int] = []
    inside: list[int] = []
    for place, delay in enumerate(delays):
        middle = at + delay / 200
        (before if middle < begin else inside if middle < end else []).append(place)
        at += delay / 100
    count = min(len(before), len(inside))
    if count < 2:
        raise InputError(f"{clip}: {begin:g} s to {end:g} s has {count} frames with as many before it.")
    first, second = before[-count:], inside[:count]
    return Made(frames[first], frames[second], [delays[place] for place in second], (imperative(caption),))


# --- editors of the user's -------------------------------------------------------------------------


def expert_items(request: PairsRequest) -> Iterator[Item]:
    """Each clip with each instruction, through the user's own editor."""
    name = request.expert or os.path.basename(shlex.split(str(request.command))[0])
    for clip, path in _clips(request):
        for number, said in enumerate(request.instructions):
            yield Item(
                f"{clip}-{number}", "expert", name, request.licence, partial(_edited_by, request, path, said)
            )


def _edited_by(request: PairsRequest, path: str, said: str) -> Made:
    """What a command makes of a clip. Raises InputError where it fails, or leaves the clip as it is."""
    from vedit.pixels import psnr

    frames, delays = _read(path)
    with tempfile.TemporaryDirectory(prefix="vedit-expert-") as folder:
        output = os.path.join(folder, f"edited{os.path.splitext(path)[1]}")
        places = {"{input}": path, "{output}": output, "{instruction}": said}
        words = []
        for word in shlex.split(str(request.command)):
            for place, value in places.items():
                word = word.replace(place, value)
            words.append(word)
        _call(words, request.timeout_s)
        if not os.path.exists(output):
            raise InputError(f"{words[0]} wrote no {os.path.basename(output)} for {path}.")
        edited, _ = _read(output)
    count = min(len(frames), len(edited))
    if edited.shape[1:] != frames.shape[1:] or count < len(frames):
        raise InputError(
            f"{words[0]} made {len(edited)} frames of {edited.shape[2]}x{edited.shape[1]} of {path}'s"
            f" {len(frames)} of {frames.shape[2]}x{frames.shape[1]}."
        )
    error = float(((frames.astype("float64") - edited[:count]) ** 2).mean())
    if psnr(error, ceiling=100, peak=255) > SAME_DB:
        raise InputError(f"{words[0]} left {path} as it is.")
    return Made(frames, edited[:count], delays, (said,))


def _call(words: Sequence[str], timeout_s: float) -> None:
    """Run a command without a shell. Raises InputError, with the last line that it said."""
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False
        )
    except FileNotFoundError:
        raise UsageError(
            f"{words[0]}: there is no such command.", f"It is the first word of {option('command')}."
        ) from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"{words[0]}: {error}.") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise InputError(f"{words[0]} ended with {done.returncode}{f': {said[-1]}' if said else ''}.")


# --- drawn scenes ----------------------------------------------------------------------------------


def drawn_items(request: PairsRequest) -> Iterator[Item]:
    """Drawn scenes, whose right answer is drawn too."""
    assert request.synth is not None, "check saw it"
    for number in range(request.synth):
        if request.kind == "inverse":
            for control in request.controls:
                for back in (False, True):
                    ident = pairs.named(number, control, "back" if back else "there")
                    make = partial(_drawn_inverse, request, number, control, back)
                    yield Item(ident, "inverse", f"vedit {control}", DRAWN_LICENCE, make)
        elif request.kind == "lift":
            yield _drawn(request, number, partial(_drawn_single, request, number), "one")
            yield _drawn(request, number, partial(_drawn_lifted, request, number), "path")
        else:
            make_drawn = {"transition": _drawn_transition, "continuation": _drawn_continuation}
            made = make_drawn.get(request.kind, drawn_pair)
            yield _drawn(request, number, partial(made, request, number))


def _drawn_single(request: PairsRequest, number: int) -> Made:
    return pairs.single(drawn_pair(request, number))


def _drawn_lifted(request: PairsRequest, number: int) -> Made:
    return pairs.lifted(drawn_pair(request, number), request.frames, _rng(request, str(number)))


def _drawn_transition(request: PairsRequest, number: int) -> Made:
    return pairs.transition_drawn(drawn_pair(request, number), request.ramp, _rng(request, str(number)))


def _drawn(request: PairsRequest, number: int, make: Callable[[], Made], *more: str) -> Item:
    return Item(pairs.named(number, *more), request.kind, "vedit scenes", DRAWN_LICENCE, make)


def _generator(request: PairsRequest, number: int) -> Any:
    from vedit.training.loop import seeded

    return seeded(request.seed, KINDS.index(request.kind), number)


def drawn_pair(request: PairsRequest, number: int) -> Made:
    """A drawn clip before and after an edit, with several wordings, a mask and a reference.

    A draw whose mask hides all of the change is drawn again.
    """
    tries = (_drawn_once(request, TRIES * number + attempt) for attempt in range(TRIES))
    return next(made for made in tries if _shows(made, is_still=request.kind == "lift"))


def _shows(made: Made, *, is_still: bool) -> bool:
    """Whether the edit can be seen; is_still: in the first frame."""
    differs = made.source_FYX3 != made.target_FYX3
    return bool((differs[:1] if is_still else differs).any())


def _drawn_once(request: PairsRequest, number: int) -> Made:
    import torch

    from vedit.data import edits, scenes
    from vedit.training.shapes_instruct import drawn_pair as pictures

    generator, frames = _generator(request, number), request.frames
    is_moving = request.kind not in ("lift", "transition")
    drawn: DrawnEdits = edits.draw(1, generator, clips=is_moving)
    path = torch.linspace(0, 1, frames)[None] if frames > 1 else torch.zeros(1, 1)
    time = edits.middles(frames, 1)
    before, after = pictures(drawn, path, time, generator)
    rng = _rng(request, f"{number}/words")
    said = tuple(dict.fromkeys(drawn.instructions(rng)[0] for _ in range(WORDINGS)))
    mask = drawn.weights(time)[0] if bool(drawn.masked_B[0]) else None
    shown = scenes.draw(edits.references(drawn, generator), torch.zeros(1))
    when = drawn.when[0]
    span = None if when is None else tuple(round(float(each) * frames / 10, 3) for each in when)
    return Made(
        _bytes(before), _bytes(after), [10] * frames, said,
        None if mask is None else (mask * 255).byte().numpy(), _bytes(shown)[0],
        None if span is None else (span[0], span[1]),
    )  # fmt: skip


def _bytes(pictures_FCYX: Any) -> np.ndarray:
    array: np.ndarray = (pictures_FCYX * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()
    return array


def _drawn_inverse(request: PairsRequest, number: int, control: str, back: bool) -> Made:
    from vedit.data import scenes

    scene = scenes.sample_records(1, request.seed * 1_000_003 + number)[0]
    frames = _bytes(scenes.clip(scene, request.frames))
    return pairs.inverse(frames, [10] * len(frames), control, back=back, caption=scene.caption)


def _drawn_continuation(request: PairsRequest, number: int) -> Made:
    """An object that stands still, and then moves; told by the rules of captions in time."""
    from dataclasses import replace

    from vedit.data import grammar, scenes

    records = scenes.sample_records(64, request.seed * 1_000_003 + number)
    scene = next(record for record in records if record.motion != "still")
    rest = replace(scene, motion="still")
    before, after = (_bytes(scenes.clip(each, request.frames)) for each in (rest, scene))
    caption = grammar.caption(scene.fields).partition(" on ")[0]
    return Made(before, after, [10] * request.frames, (imperative(caption),))


BUILDERS = {
    "inverse": inverse_items,
    "lift": lift_items,
    "continuation": continuation_items,
    "transition": transition_items,
    "expert": expert_items,
}
