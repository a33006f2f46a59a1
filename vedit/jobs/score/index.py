"""Suites: which videos there are, what their edits should show, and where the edited clips lie.

    # suite.toml
    [[video]]
    id = "cat"
    source = "cat.mp4"            # seen from --source-dir, or from the index; <id>.* without it
    source_prompt = "a cat"
    tags = ["animal", "indoors"]  # for the means of groups, see `vedit score table --tags`
    [[video.edit]]
    prompt = "a dog"              # the clip is DIR/cat/0, a file of any clip format or a frame folder
    questions = ["Is there a dog?", { ask = "Is there a cat?", answer = "no" }]  # for judge_checklist
    instruction = "make it a dog" # for the runs of a suite whose prompts are rewritten

V2VBench's YAML (`data: - video_id: ..., edit: - prompt: ...`) is read too. Without an index every
clip in a folder is one edited video, and run records say the rest.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from vedit.documents import Kind, read_toml, read_yaml
from vedit.errors import InputError, nearest, option, reason_of
from vedit.jobs.score.clips import Item
from vedit.media.formats import CLIP_SUFFIXES
from vedit.media.sequence import SUFFIXES, natural_key

INDEX = Kind("an index", right="An index is TOML with [[video]] tables, or V2VBench's YAML.")
VIDEO_KEYS = ("id", "video_id", "source", "source_prompt", "prompt", "mask", "truth", "edit", "tags")
EDIT_KEYS = (
    "id", "edit_id", "prompt", "source_prompt", "mask", "truth", "edited", "questions", "instruction",
)  # fmt: skip


def read_index(path: str, edited_dir: str, source_dir: str | None = None) -> list[Item]:
    """The items of an index, in its order; a clip that is not there is an item all the same, and fails when
    it is read.

    Raises InputError for a file that is no index, with every unknown key named.
    """
    base = source_dir or os.path.dirname(path) or "."
    items = [item for video in _videos(path) for item in _items(video, path, edited_dir, base)]
    if not items:
        raise InputError(
            f"{path}: it holds no edits.", "Each video has one [[video.edit]] or more, with a prompt."
        )
    if twice := _first_twice([(item.video_id, item.edit_id) for item in items]):
        raise InputError(
            f"{path}: {'/'.join(twice)} is there twice.",
            "Every video has its own id, and every edit of it too.",
        )
    return items


def read_tags(path: str) -> dict[str, tuple[str, ...]]:
    """The tags of each video of an index, by its id.

    Raises InputError for a file that is no index, and where no video has a tag.
    """
    found = {
        _name(video.get("id", video.get("video_id")), path): _tags(video.get("tags", ()), path)
        for video in _videos(path)
    }
    if not any(found.values()):
        raise InputError(
            f"{path}: no video has tags.", 'A [[video]] table has them as: tags = ["animal", "indoors"]'
        )
    return found


def _tags(value: Any, path: str) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) and word for word in words):
        raise InputError(f"{path}: {str(value)[:40]!r} are not tags.", "Tags are a list of texts.")
    return tuple(dict.fromkeys(words))


def _videos(path: str) -> list[Mapping[str, Any]]:
    is_yaml = path.lower().endswith((".yaml", ".yml"))
    content = read_yaml(path, INDEX) if is_yaml else read_toml(path, INDEX)
    videos = content.get("video", content.get("data")) if isinstance(content, dict) else None
    if not isinstance(videos, list) or not all(isinstance(video, dict) for video in videos):
        raise InputError(
            f"{path}: it has no list of videos.",
            "TOML has [[video]] tables; V2VBench's YAML has `data:` with a list.",
        )
    return videos


def _items(video: Mapping[str, Any], path: str, edited_dir: str, base: str) -> Iterator[Item]:
    _check_keys(video, VIDEO_KEYS, path)
    name = video.get("id", video.get("video_id"))
    if name is None:
        raise InputError(f"{path}: a video has no id: {dict(video)}.")
    name = _name(name, path)
    edits = video.get("edit", [])
    if not isinstance(edits, list) or not all(isinstance(edit, dict) for edit in edits):
        raise InputError(f"{path}: the edits of {name} are not a list of tables.")
    source = _path(video.get("source"), base) or find_clip(base, name)
    for place, edit in enumerate(edits):
        _check_keys(edit, EDIT_KEYS, path)
        edit_id = _name(edit.get("id", edit.get("edit_id", place)), path)
        clip = _path(edit.get("edited"), edited_dir) or find_clip(os.path.join(edited_dir, name), edit_id)
        if clip is None and len(edits) == 1:
            clip = find_clip(edited_dir, name)
        mask, truth = (_path(edit.get(key, video.get(key)), base) for key in ("mask", "truth"))
        # V2VBench calls the source's prompt `prompt`, beside the edits
        source_prompt = edit.get("source_prompt", video.get("source_prompt", video.get("prompt")))
        what = f"{path}: a prompt of {name}/{edit_id}"
        prompt, before = _prompt(edit.get("prompt"), what), _prompt(source_prompt, what)
        edited = clip or os.path.join(edited_dir, name, edit_id)
        tags = _tags(video.get("tags", ()), path) if not is_yaml(path) else ()
        asked = _questions(edit.get("questions", ()), what) if not is_yaml(path) else ()
        said = _prompt(edit.get("instruction"), f"{path}: the instruction of {name}/{edit_id}")
        yield Item(
            name, edit_id, edited, source, prompt, before, truth, mask or "auto", tags, asked, said or None
        )


def _questions(value: Any, what: str) -> tuple[tuple[str, str], ...]:
    """Questions with their right answers; a text alone is answered with yes. Raises InputError."""
    asked = value if isinstance(value, (list, tuple)) else [value]
    pairs = [one if isinstance(one, dict) else {"ask": one} for one in asked]
    for one in pairs:
        text, answer = one.get("ask"), one.get("answer", "yes")
        is_text = isinstance(text, str) and bool(text.strip())
        if not is_text or answer not in ("yes", "no") or set(one) - {"ask", "answer"}:
            raise InputError(
                f"{what.replace('a prompt', 'the questions')}: {str(one)[:60]!r} is not a question.",
                'A question is a text, or { ask = "Is there a cat?", answer = "no" }.',
            )
    return tuple((str(one["ask"]), str(one.get("answer", "yes"))) for one in pairs)


def is_yaml(path: str) -> bool:
    """Whether an index is V2VBench's."""
    return path.lower().endswith((".yaml", ".yml"))


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], path: str) -> None:
    if path.lower().endswith((".yaml", ".yml")):
        return  # V2VBench's files carry more than is needed here
    if unknown := [key for key in table if key not in known]:
        hints = ", ".join(f"{key}{nearest(key, known)}" for key in unknown)
        raise InputError(f"{path}: unknown keys: {hints}", f"Known: {', '.join(known)}.")


def _name(value: Any, path: str) -> str:
    """What names a video or an edit, which is also a name of files."""
    if not isinstance(value, (str, int, float)) or "\0" in str(value):
        raise InputError(f"{path}: {str(value)[:40]!r} is not an id.", "An id is a text or a number.")
    return str(value)


def _prompt(value: Any, what: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InputError(f"{what} is {str(value)[:40]!r}, which is not a text.", "", "Put it in quotes")
    return value


def _path(value: Any, base: str) -> str | None:
    """A file's name in an index, seen from a folder. Raises InputError."""
    if value is not None and (not isinstance(value, (str, int, float)) or "\0" in str(value)):
        raise InputError(f"{str(value)[:40]!r} is not the name of a file.", "", "Put it in quotes")
    return None if value is None else os.path.join(base, str(value))


def find_clip(folder: str, stem: str) -> str | None:
    """DIR/stem as a frame folder, or DIR/stem.gif, .mp4 and so on."""
    if os.path.isdir(os.path.join(folder, stem)) and holds_frames(os.path.join(folder, stem)):
        return os.path.join(folder, stem)
    return next(
        (path for suffix in CLIP_SUFFIXES if os.path.isfile(path := os.path.join(folder, stem + suffix))),
        None,
    )


def holds_frames(folder: str) -> bool:
    return any(name.lower().endswith(SUFFIXES) and not name.startswith(".") for name in os.listdir(folder))


def read_folder(edited_dir: str, source_dir: str | None = None) -> list[Item]:
    """Every clip and frame folder in a folder as an edited video; sources of the same name out of
    `source_dir`.
    """
    try:
        names = sorted((name for name in os.listdir(edited_dir) if not name.startswith(".")), key=natural_key)
    except OSError as error:
        raise InputError(f"{edited_dir}: cannot read: {reason_of(error)}.") from None
    items = []
    for name in names:
        path = os.path.join(edited_dir, name)
        is_frames = os.path.isdir(path) and holds_frames(path)
        if not is_frames and not (os.path.isfile(path) and name.lower().endswith(CLIP_SUFFIXES)):
            continue
        stem = name if is_frames else os.path.splitext(name)[0]
        items.append(Item(stem, "0", path, find_clip(source_dir, stem) if source_dir else None))
    if not items:
        raise InputError(
            f"{edited_dir}: it holds no clips.",
            f"Looked for {' '.join(CLIP_SUFFIXES)} and frame folders.",
            f"An index names them: {option('index')} suite.toml",
        )
    if twice := _first_twice([(item.video_id, "") for item in items]):
        raise InputError(
            f"{edited_dir}: two clips are called {twice[0]}.",
            "The name without its suffix tells videos apart.",
        )
    return items


def _first_twice(names: list[tuple[str, str]]) -> tuple[str, str] | None:
    return next((name for place, name in enumerate(names) if name in names[:place]), None)
