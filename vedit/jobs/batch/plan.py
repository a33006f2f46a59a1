"""A batch before any work: its rows with their keys and names, and which of them are done."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from vedit.errors import OutputError, UsageError, VeditError, option, refuse_mistakes
from vedit.jobs.batch.keys import Contents, Keys
from vedit.jobs.batch.names import DEFAULT, OF_INDEX, check_template, named
from vedit.jobs.batch.rows import Row, check_own
from vedit.jobs.batch.state import FOLDER, State
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.record import SUFFIX, find_record, write_record
from vedit.media.formats import CLIP_SUFFIXES, STILLS

NAMES = "names"  # the claim of a call that moves outputs


@dataclass(frozen=True)
class Item:
    """One row, resolved. output: its name below the folder for outputs. twin: whether an item before it
    has the
    same key, so that it gets a copy.
    """

    row: Row
    key: str
    output: str
    twin: bool = False

    @property
    def request(self) -> EditRequest:
        return self.row.request

    @property
    def group(self) -> tuple[Any, ...]:
        """What decides how long an item takes."""
        request = self.request
        return (
            request.model,
            request.lora,
            request.control,
            request.method,
            request.frames,
            request.steps,
            request.size,
        )

    @property
    def clip(self) -> tuple[Any, ...]:
        """What decides whether an inversion that another item made can be used again."""
        request = self.request
        selection = request.frames, request.start, request.stride, request.size, request.crop
        network = request.model, request.lora, request.control
        return *network, request.input, request.source_prompt, request.method, *selection

    def json(self) -> dict[str, Any]:
        """The item as plan.jsonl has it."""
        return {
            "row": self.row.number,
            "where": self.row.where,
            "key": self.key,
            "output": self.output,
            "twin": self.twin,
            "label": self.row.label,
            "axes": dict(self.row.axes),
            "video": self.row.video,
            "edit": self.row.edit,
            "group": list(self.group),
            "request": self.request.json(),
            "written": dict(self.row.written),
            "extra": dict(self.row.extra),
        }


@dataclass
class Plan:
    """What is to be made in a folder. done: keys that are, with their records. failed: those that failed
    in an
    earlier call, and failed_before the keys that had when the plan was made. dropped: outputs that an
    earlier call made and nobody asks for now. redone: keys whose record does not count. taken: items whose
    name a file has that no batch made. refused: why nothing is done at the items with these keys.
    order: "model" keeps items of one model, clip and caption together; "given" that of the rows. before: the
    lines of the last plan.
    """

    state: State
    items: list[Item]
    done: dict[str, dict[str, Any]] = field(default_factory=dict)
    failed: dict[str, dict[str, Any]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    contents: Contents = field(default_factory=Contents)
    redone: set[str] = field(default_factory=set)
    failed_before: set[str] = field(default_factory=set)
    taken: list[Item] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    order: str = "model"
    before: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_as_before(self) -> bool:
        """Whether the last plan of this folder says the same."""
        return len(self.before) == len(self.items) and all(
            (line["key"], line["output"], line["where"], line["label"], line["written"], line["extra"])
            == (item.key, item.output, item.row.where, item.row.label, item.row.written, item.row.extra)
            for line, item in zip(self.before, self.items)
        )

    def lines(self) -> Iterator[dict[str, Any]]:
        """The items as plan.jsonl has them."""
        for item in self.items:
            yield {**item.json(), "is_refused": True} if item.key in self.refused else item.json()

    def open(self) -> list[Item]:
        """Items that are neither done nor failed, in their order."""
        rest = [
            item
            for item in self.items
            if not item.twin and item.key not in self.done and item.key not in self.failed
        ]
        if self.order == "given":
            return rest
        return sorted(
            rest,
            key=lambda item: (
                item.request.model,
                item.request.lora,
                item.request.control,
                item.request.input,
                item.request.source_prompt,
            ),
        )

    def forget_failures(self, items: Sequence[Item]) -> None:
        """Remove the records of failures that are to be tried again: who looks on sees them open."""
        for item in items:
            if item.key in self.failed_before and item.key not in self.failed:
                self.state.remove("failed", item.key)

    def forget(self) -> None:
        """Remove the records of all that is to be made again, so that any call makes it."""
        self.forget_failures(self.items)
        for key in self.redone:
            self.state.remove("done", key)
        self.redone.clear()

    def refresh(self) -> None:
        """See what other calls have done, or failed, since."""
        asked = {item.key for item in self.items}
        for key, record in self.state.records("done", asked - self.done.keys() - self.redone).items():
            if self.state.is_done(record):
                self.done[key] = record
        self.refresh_failed()

    def refresh_failed(self) -> None:
        """See what other calls have failed at, or made after all."""
        asked = {item.key for item in self.items} - self.done.keys()
        there = self.state.keys("failed") & asked
        self.failed = {key: record for key, record in self.failed.items() if key in there}
        self.failed |= self.state.records("failed", there - self.failed.keys())


def resolve(rows: Sequence[Row], keys: Keys, template: str | None = None) -> list[Item]:
    """Each row with its key and name.

    Raises UsageError for rows with one name, and for names that leave the folder; ModelError.
    """
    if template is not None:
        check_template(template, tuple({name for row in rows for name in row.extra}))
    refuse_mistakes("rows", [mistake for row in rows for mistake in check_own(row)])
    items, seen, names, wrong = [], set[str](), dict[str, Item](), list[str]()
    for row in rows:
        extension = _extension(row, template)
        key = keys.of(row.request, extension)
        item = Item(row, key, _name(row, key, extension, template), key in seen)
        other = names.setdefault(os.path.normcase(item.output).lower(), item)
        if other is not item and other.key == key:
            continue  # the same edit under the same name: once is enough
        if other is not item:
            wrong.append(f"{other.row.where} and {row.where} would both be {item.output}.")
            continue
        seen.add(key)
        items.append(item)
    if len(wrong) > 10:
        wrong[10:] = [f"and {len(wrong) - 10} more."]
    refuse_mistakes("names", wrong, f"Give rows a label or an output, or another {option('name')}")
    return items


def _extension(row: Row, template: str | None) -> str:
    own = str(row.output) if row.output is not None else template or ""
    suffix = os.path.splitext(own)[1]
    if suffix and "{" not in suffix:
        return suffix[1:]
    name = row.request.input.lower()
    found = next(
        (suffix for suffix in CLIP_SUFFIXES if name.endswith(suffix) and suffix not in STILLS), ".gif"
    )
    return found[1:]


def _name(row: Row, key: str, extension: str, template: str | None) -> str:
    if row.output is not None:
        return os.path.normpath(str(row.output))
    request = row.request
    stem, parent = _stem_and_parent(request.input)
    told = [
        "prompt",
        "label",
        *(["method"] if row.label == request.method else []),
        *([] if row.video else ["seed"]),
    ]
    values = {
        "stem": stem,
        "relpath": row.relpath,
        "parent": parent,
        "index": str(row.number),
        "label": row.label,
        "method": request.method,
        "preset": request.preset or "",
        "seed": str(request.seed),
        "prompt": request.prompt or "",
        "source": request.source_prompt,
        "edit": row.edit or "",
        "video": row.video or "",
        "key": key[:8],
        "ext": extension,
        "axes": "".join(f"-{name}{label}" for name, label in row.axes.items() if name not in told),
        **{f"axis.{name}": label for name, label in row.axes.items()},
        **{name: str(value) for name, value in row.extra.items()},
    }
    return named(template or (OF_INDEX if row.video is not None else DEFAULT), values, key)


@lru_cache(maxsize=1024)
def _stem_and_parent(path: str) -> tuple[str, str]:
    name, parent = os.path.basename(path.rstrip("/")), os.path.dirname(os.path.abspath(path))
    return name if os.path.isdir(path) else os.path.splitext(name)[0], os.path.basename(parent)


def plan(
    rows: Sequence[Row],
    out: str,
    *,
    name: str | None = None,
    may_fetch: bool = True,
    overwrite: bool = False,
    replaces: bool = True,
) -> Plan:
    """Resolve rows, and compare them with what lies in the folder for outputs; nothing is written.

    overwrite: outputs that this folder's batches did not make may be replaced. replaces: those that they made
    of other edits may be. Raises VeditError.
    """
    state = State(out)
    if os.path.exists(out) and not os.path.isdir(out):
        raise OutputError(
            f"{out} is a file, and a folder for outputs is asked for.",
            "",
            f"Name another with {option('output_dir')}",
        )
    contents = Contents(str(state.folder / "hashes.json"))
    items = resolve(rows, Keys(contents, may_fetch=may_fetch), name)
    before = state.read_plan()
    items = _with_kept(items, before, rows)
    done = state.records("done")
    asked = {item.key for item in items}
    made = Plan(
        state,
        items,
        {key: record for key, record in done.items() if key in asked and state.is_done(record)},
        {key: record for key, record in state.records("failed").items() if key in asked},
        [str(record["output"]) for key, record in done.items() if key not in asked and state.is_done(record)],
        contents,
    )
    made.before = before
    made.failed_before = set(made.failed)
    again = {item.key for item in items if "_error" in item.row.extra}  # a failed.csv is a wish to try again
    made.failed = {k: record for k, record in made.failed.items() if k not in made.done and k not in again}
    own: dict[str, set[str]] = {}  # keys by the names they were made under, or were to be
    for line in before:
        if not line.get("is_refused"):
            own.setdefault(str(line["output"]), set()).add(line["key"])
    for key, record in done.items():
        own.setdefault(str(record.get("output")), set()).add(key)
    made.dropped = [path for path in made.dropped if path not in {item.output for item in items}]
    _refuse_links(made)
    made.taken = list(_taken(made, own, replaces))
    if not overwrite:
        _refuse_taken(made)
    return made


def _with_kept(items: list[Item], before: list[dict[str, Any]], rows: Sequence[Row]) -> list[Item]:
    """Rows of a failed.csv take the place of those they came from; the others of that batch stay."""
    replaced = {str(row.extra["_key"]) for row in rows if "_key" in row.extra}
    if not replaced or len(replaced) < len(rows):
        return items
    keys, names = {item.key for item in items}, {item.output for item in items}
    kept = [
        item_of(line)
        for line in before
        if line["key"] not in replaced and line["key"] not in keys and line["output"] not in names
    ]
    return sorted([*kept, *items], key=lambda item: item.row.number)


def item_of(line: Mapping[str, Any]) -> Item:
    """An item as plan.jsonl has it."""
    row = Row(
        line["row"],
        line["where"],
        EditRequest.from_json(line["request"]),
        line["label"],
        line["written"].get("output"),
        line["axes"],
        "",
        line["video"],
        line["edit"],
        line["written"],
        line["extra"],
    )
    return Item(row, line["key"], line["output"], line["twin"])


def _refuse_links(made: Plan) -> None:
    """Refuse names that a link in the folder for outputs leads out of it. Raises OutputError."""
    out, seen = os.path.realpath(made.state.out), set[str]()
    for item in made.items:
        parts = item.output.split("/")
        for count in range(1, len(parts) + (item.key not in made.done)):
            place = "/".join((out, *parts[:count]))
            if place in seen:
                continue
            seen.add(place)
            if os.path.islink(place) and not (os.path.realpath(place) + os.sep).startswith(out + os.sep):
                raise OutputError(
                    f"{item.row.where}: {item.output} leaves the folder for outputs: {place} is a link to"
                    f" {os.path.realpath(place)}.",
                    "",
                    f"Name another folder with {option('output_dir')}, or remove the link",
                )


def _taken(made: Plan, own: Mapping[str, Set[str]], replaces: bool) -> Iterator[Item]:
    """Items whose names are those of files that no batch made here, or that another edit has made.

    Raises UsageError for a name that is that of a clip to be edited.
    """
    state = made.state
    inputs = {os.path.realpath(name): name for name in {item.request.input for item in made.items}}
    names = {os.path.basename(name) for name in inputs}
    for item in made.items:
        path = os.path.join(state.out, item.output)
        edited = inputs.get(os.path.realpath(path)) if os.path.basename(path) in names else None
        if edited is not None:
            raise UsageError(
                f"{item.row.where}: its output would replace {edited}, a clip to be edited.",
                "",
                f"Name another folder with {option('output_dir')}, or give outputs other names",
            )
        is_own = item.output in own and (replaces or item.key in own[item.output])
        if is_own or not os.path.lexists(path):
            continue
        if not state.is_done(made.done.get(item.key), item.output):
            yield item


def _refuse_taken(made: Plan) -> None:
    if made.taken:
        names = [item.output for item in made.taken]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise OutputError(
            f"{made.state.out} holds files of these names that no batch made: {', '.join(names[:3])}{more}.",
            "",
            (
                f"Add {option('overwrite', True)} to replace them, or name another folder with"
                f" {option('output_dir')}"
            ),
        )


def settle_names(made: Plan) -> None:
    """Let what is done have the names that are asked for now: outputs are moved, twins are linked."""
    if _moved(made):
        with made.state.alone(NAMES):  # another call may be moving the same files
            _settle(made)
    for item in made.items:
        if item.twin and item.key in made.done:
            link_twin(made.state, made.done[item.key], item.output)


def _moved(made: Plan) -> dict[str, str]:
    """The keys whose outputs have other names than are asked for, with these."""
    wanted = {item.key: item.output for item in made.items if not item.twin}
    return {
        key: output
        for key, output in wanted.items()
        if made.done.get(key, {}).get("output", output) != output
    }


def _settle(made: Plan) -> None:
    for key in _moved(made):
        record = made.state.record("done", key)
        if record is not None and made.state.is_done(record):
            made.done[key] = record
        else:
            del made.done[key]
    moved = _moved(made)
    held = {str(record["output"]) for record in made.done.values()}
    if held & set(moved.values()):  # names change hands: nobody's output may be in another's way
        for key, output in moved.items():
            aside = f"{FOLDER}/moving/{key}{os.path.splitext(output)[1]}"
            _rename(made, key, aside)
    for key, output in moved.items():
        _rename(made, key, output)


def _rename(made: Plan, key: str, output: str) -> None:
    made.state.touch([NAMES])
    move(made.state, made.done[key], output)
    made.done[key] = {**made.done[key], "output": output}
    made.state.write("done", key, made.done[key])


def move(state: State, record: Mapping[str, Any], output: str) -> None:
    """Give an output another name, and its run record with it."""
    before, after = (os.path.join(state.out, name) for name in (str(record["output"]), output))
    os.makedirs(os.path.dirname(after) or ".", exist_ok=True)
    try:
        recorded = find_record(before).record if os.path.exists(before + SUFFIX) else None
    except VeditError:
        recorded = None
    os.replace(before, after)
    if recorded is not None:
        write_record(after, {**recorded, "output": after})
        os.unlink(before + SUFFIX)


def link_twin(state: State, record: Mapping[str, Any], output: str) -> None:
    """Give an item the output of another with the same key: the same file, or a copy where there are no
    links.
    """
    import shutil

    if state.is_done(record, output):
        return
    source, target = (os.path.join(state.out, name) for name in (str(record["output"]), output))
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    # below the state, where what a call that is killed leaves behind is in nobody's way
    part = str(state.folder / "moving" / f"{state.host}-{os.getpid()}.part")
    os.makedirs(os.path.dirname(part), exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(part)
    try:
        os.link(source, part)
    except FileNotFoundError:
        return  # another call is moving it, and the next one links it
    except OSError:
        shutil.copyfile(source, part)
    os.replace(part, target)
    if os.path.exists(source + SUFFIX):
        write_record(target, {**find_record(source).record, "output": target})


def redo(made: Plan, which: str) -> None:
    """Let done items be made again: "all", "older" (by another vedit), or those whose name a pattern finds.

    Raises UsageError.
    """
    import re

    from vedit import __version__

    if which not in ("all", "older"):
        try:
            pattern = re.compile(which)
        except re.error as error:
            raise UsageError(
                f"{option('redo', which)}: not a pattern: {error}.", "all, older, or a regular expression."
            ) from None
    for item in made.items:
        record = made.done.get(item.key)
        if record is None or item.twin:
            continue
        is_older = record.get("versions", {}).get("vedit") != __version__
        if which == "all" or (is_older if which == "older" else pattern.search(item.output)):
            del made.done[item.key]
            made.redone.add(item.key)


def verify(made: Plan) -> list[str]:
    """Let done items be made again whose outputs are not what they were, and return these outputs."""
    from vedit.jobs.recorded import sha256_of

    changed = []
    for item in made.items:
        record = made.done.get(item.key)
        if record is None or item.twin:
            continue
        if sha256_of(os.path.join(made.state.out, str(record["output"]))) != record.get("sha256"):
            changed.append(str(record["output"]))
            del made.done[item.key]
            made.redone.add(item.key)
    return changed


def in_shard(items: Sequence[Item], shard: tuple[int, int]) -> list[Item]:
    """The items of part i of n, from 1: by their keys, so that every machine finds the same without the
    others.
    """
    part, count = shard
    return [item for item in items if int(item.key[:8], 16) % count == part - 1]
