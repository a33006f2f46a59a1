"""The clips of a suite with their prompts: drawn scenes with their true edits, or a folder and an index."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from vedit.errors import InputError, UsageError, option
from vedit.media.atomic import open_output
from vedit.media.formats import CLIP_SUFFIXES

if TYPE_CHECKING:
    from vedit.data.cases import Case

BESIDE = {"texture": "plain", "size": "medium", "pattern": "plain"}  # what a caption leaves out


@dataclass(frozen=True)
class Take:
    """An edit of a clip. short: the prompt as somebody types it; instruction: what to change, in words, ""
    where nobody said it but in the prompt.

    truth: the file of the true edit. tag: what kind of edit it is. case: of a drawn scene.
    """

    video: str
    edit: str
    source: str
    source_prompt: str
    prompt: str
    short: str
    instruction: str = ""
    truth: str | None = None
    tag: str | None = None
    case: Case | None = None


def takes_of(
    clips: Mapping[str, Any], folder: str, *, source_dir: str | None, index: str | None, limit: int | None,
    partial: bool,
) -> tuple[list[Take], list[str]]:  # fmt: skip
    """The edits of a suite, and the names of clips that are missing. Draws scenes into a folder.

    Raises UsageError where it is not said where clips or prompts are, InputError for missing clips.
    """
    if "cases" in clips:
        return drawn(str(clips["cases"]), folder, clips, limit), []
    if source_dir is None or index is None:
        raise UsageError(
            "this suite is of clips that do not ship.",
            f"{option('clips', 'DIR')} names their folder, {option('index', 'FILE')} their prompts:"
            " V2VBench's YAML, or TOML with [[video]] tables.",
        )
    return found(clips, source_dir, index, limit, partial)


def drawn(name: str, folder: str, clips: Mapping[str, Any], limit: int | None) -> list[Take]:
    """Frozen scenes, one of each kind in turn, as GIFs with their true edits."""
    from vedit.data.cases import KINDS, load_cases
    from vedit.jobs.draw_scene import write_scene

    of_kind = [[case for case in load_cases(name) if case.kind == kind] for kind in KINDS]
    turns = [case for turn in zip_longest(*of_kind) for case in turn if case is not None]
    chosen = turns[: int(clips.get("count", len(turns)))][:limit]
    os.makedirs(folder, exist_ok=True)
    takes = []
    for case in chosen:
        source, truth = (os.path.join(folder, f"{case.id}{end}.gif") for end in ("", "-true"))
        for path, scene in ((source, case.scene), (truth, case.truth)):
            if not os.path.exists(path):
                write_scene(scene, path, frames=int(clips.get("frames", 8)))
        prompt, short = case.target_prompt, short_prompt(case)
        takes.append(
            Take(
                case.id,
                "0",
                source,
                case.source_prompt,
                prompt,
                short,
                case.instruction,
                truth,
                case.kind,
                case,
            )
        )
    return takes


def short_prompt(case: Case) -> str:
    """What somebody types who says what is new and no more than that: shape, colours, and the new word."""
    from vedit.data import grammar

    fields = dict(case.truth.fields)
    said = {key: value if key == case.kind else BESIDE[key] for key, value in fields.items() if key in BESIDE}
    return grammar.caption({**fields, **said}, show_motion=False)


def found(
    clips: Mapping[str, Any], source_dir: str, index: str, limit: int | None, partial: bool
) -> tuple[list[Take], list[str]]:
    """The edits of an index whose clips lie in a folder. Raises InputError for clips that do not, unless
    partial.
    """
    from vedit.jobs.score.index import read_index

    items = read_index(index, ".", source_dir)
    wanted = [str(name) for name in clips.get("names", ())]
    if wanted:
        # of several edits of a clip, a suite that names clips takes the first
        first = {item.video_id: item for item in reversed(items)}
        missing = [name for name in wanted if name not in first or clip_in(source_dir, name) is None]
        items = [first[name] for name in wanted if name not in missing]
    else:
        names = dict.fromkeys(item.video_id for item in items)
        missing = [name for name in names if clip_in(source_dir, name) is None]
        items = [item for item in items if item.video_id not in missing]
    if missing and not partial:
        raise InputError(
            f"{len(missing)} clips of the suite are not in {source_dir} or not in {index}:"
            f" {', '.join(missing)}.",
            "A clip is NAME.mp4, NAME.gif, another format, or a folder of pictures.",
            f"Add {option('partial', True)} to run those that are there",
        )
    if not items:
        raise InputError(
            f"none of the suite's clips is both in {source_dir} and in {index}.",
            f"It is of {', '.join(wanted[:4])} and {len(wanted) - 4} more." if len(wanted) > 4 else "",
            "For clips of your own: vedit suite show thesis --file > mine.toml, and change the names in it",
        )
    takes = [
        Take(
            item.video_id,
            item.edit_id,
            clip_in(source_dir, item.video_id) or "",
            item.source_prompt or "",
            item.prompt or "",
            item.prompt or "",
            item.instruction or "",
        )
        for item in items
    ]
    return takes[:limit], missing


def clip_in(folder: str, name: str) -> str | None:
    """The clip of that name: a file with a known ending, or a folder of pictures."""
    paths = (os.path.join(folder, name + suffix) for suffix in ("", *sorted(CLIP_SUFFIXES)))
    return next((path for path in paths if os.path.exists(path)), None)


def write_index(path: str, takes: Sequence[Take]) -> None:
    """The index by which `score` judges, with tags and true edits."""
    videos: dict[str, list[Take]] = {}
    for take in takes:
        videos.setdefault(take.video, []).append(take)
    lines = []
    for video, edits in videos.items():
        lines += ["[[video]]", f"id = {json.dumps(video)}"]
        lines += [f"source = {json.dumps(os.path.abspath(edits[0].source))}"]
        lines += [f"source_prompt = {json.dumps(edits[0].source_prompt, ensure_ascii=False)}"]
        if edits[0].tag:
            lines += [f"tags = [{json.dumps(edits[0].tag)}]"]
        for take in edits:
            lines += ["[[video.edit]]", f"id = {json.dumps(take.edit)}"]
            lines += [f"prompt = {json.dumps(take.prompt, ensure_ascii=False)}"]
            if take.truth:
                lines += [f"truth = {json.dumps(os.path.abspath(take.truth))}"]
        lines.append("")
    with open_output(path) as stream:
        stream.write("\n".join(lines).encode())
