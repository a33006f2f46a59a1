"""Whatever is in a file that vedit reads, it is read or refused: 500 mutations of each kind, by a seed, in
this process.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import mutations
from tests.conftest import NASTY
from tests.media.clips import clip_of, noise
from vedit import config, presets
from vedit.data import msrvtt, table, v2vbench
from vedit.data.layout import read_captions, read_rows
from vedit.errors import InputError, LimitError, OutputError, UsageError, VeditError
from vedit.jobs.data.build import read_settings
from vedit.jobs.draw_scene import read_record
from vedit.jobs.generate.run import read_prompts
from vedit.jobs.score.index import read_index
from vedit.jobs.score.journal import Journal
from vedit.media.gif import lzw
from vedit.media.gif.compose import compose
from vedit.media.gif.container import GifReader
from vedit.media.limits import environment_limits
from vedit.media.streams.bytesource import NotOurs
from vedit.media.streams.nut import NutReader, write_nut
from vedit.media.streams.raw import RawInfo, RawReader, Y4mReader, write_raw, write_y4m

COUNT = 500
ALLOWED = (UsageError, InputError, OutputError, LimitError, NotOurs)
CPU_S, GROWN_MB = 2.0, 150
TABLE = b'video_id,caption,split\nclip1,a cat,train\nclip2,"a dog, that runs",val\nclip1,=1+1,train\n'
LINES = (
    b'{"video_id": "clip1", "caption": "a cat"}\n{"video_id": "clip2", "caption": "a \\u00e4", "n": [1,'
    b" {}]}\n"
)
INDEX = b"""[[video]]
id = "cat"
source = "cat.mp4"
source_prompt = "a cat"
[[video.edit]]
prompt = "a dog"
[[video.edit]]
prompt = "a fox"
mask = "box:1,2,3,4"
"""
LIST = (
    b"data:\n- video_id: hike\n  prompt: a man hikes\n  stride: 3\n  edit:\n  - prompt: a superman hikes\n   "
    b" kind: style\n"
)
ANNOTATION = {
    "videos": [{"video_id": "v0", "start time": 1.5, "end time": 3.0, "split": "train"}],
    "sentences": [{"caption": "a cat", "video_id": "v0", "sen_id": 1}],
}
DATASET = {
    "format": "vedit-dataset",
    "version": 1,
    "licence": "",
    "settings": {"kind": "table", "to": "gif", "size": [64, 64]},
}
ENTRY = {
    "key": "k",
    "values": {"psnr": {"value": 1.0, "per_frame": [1.0], "extra": {}, "provenance": {}}},
    "skipped": "",
    "facts": {},
}
SETTINGS = b'[gif.resize]\nwidth = 320\nfilter = "lanczos"\n[edit]\nseed = 3\n[limits]\ncanvas = 1000\n'
CHAIN = (
    b'kind = "chain"\nsummary = "small"\n[[stage]]\nname = "resize"\nwidth = 320\n[[stage]]\nname ='
    b' "speed"\nfactor = 2\n'
)
LIMITS = b"canvas = 200000000\nimages = 3\nheld = 0\n"


def drained(frames: Iterable[Any]) -> None:
    """Look at the first hundred frames: what comes of them is refused by limits further on."""
    for _ in itertools.islice(frames, 100):
        pass


def gif(data: bytes, path: Path) -> None:
    reader = GifReader(io.BytesIO(data).read, "a.gif", warn=lambda message: None)
    drained(compose(reader.clip, lzw.unpack(reader.clip, reader.frames(), hurt=lambda message: None)))


def nut(data: bytes, path: Path) -> None:
    drained(NutReader(io.BytesIO(data), "a.nut", warn=lambda message: None).frames())


def y4m(data: bytes, path: Path) -> None:
    drained(Y4mReader(io.BytesIO(data), "a.y4m").frames())


def raw(data: bytes, path: Path) -> None:
    head, _, pixels = data.partition(b"\n")
    drained(RawReader(io.BytesIO(pixels), RawInfo.from_json(head, "info.json"), "a.raw").frames())


def stream(write: Callable[..., Any], mode: str = "RGB", *more: str) -> bytes:
    out = io.BytesIO()
    write(*clip_of([noise(13, 7, seed, mode) for seed in range(3)], [4, 4, 4]), out, *more)
    return out.getvalue()


def read_at(name: str, read: Callable[[Path], Any]) -> Callable[[bytes, Path], Any]:
    def run(data: bytes, folder: Path) -> Any:
        (folder / name).write_bytes(data)
        found = read(folder / name)
        return list(found) if isinstance(found, Iterator) else found

    return run


def journal(path: Path) -> None:
    known = Journal(str(path), True)
    for key in known.known:
        known.numbers(key), known.facts(key)


def grouped(path: Path) -> Any:
    return table.group(table.read_table(path), "video_id", "caption", path.name)


RAW_HEAD = b'{"format": "rgb24", "size": "13x7", "rate": "25"}\n'
KINDS: dict[str, tuple[Callable[[], Any], Callable[[bytes, Path], Any]]] = {  # what is right, as bytes or as a value of JSON; its reader
    "gif": (lambda: (NASTY / "ok_plain.gif").read_bytes(), gif),
    "nut": (lambda: stream(write_nut), nut),
    "nut with alpha": (lambda: stream(write_nut, "RGBA"), nut),
    "y4m": (lambda: stream(write_y4m), y4m),
    "mono y4m": (lambda: b"YUV4MPEG2 W13 H7 F25:1 Cmono\n" + (b"FRAME\n" + bytes(91)) * 3, y4m),
    "raw": (lambda: RAW_HEAD + stream(write_raw, "RGB", "rgb24"), raw),
    "settings": (lambda: SETTINGS, read_at("config.toml", lambda path: config.section(config.user_config(), "gif", "resize"))),
    "preset": (lambda: CHAIN, read_at("preset.toml", lambda path: presets.load_chain(str(path)))),
    "method preset": (lambda: (Path(presets.shipped_folder()) / "glp.toml").read_bytes(), read_at("m.toml", lambda path: presets.load(str(path)))),
    "limits": (lambda: LIMITS, read_at("limits.toml", lambda path: environment_limits())),
    "table": (lambda: TABLE, read_at("t.csv", grouped)),
    "tabs": (lambda: TABLE.replace(b",", b"\t"), read_at("t.tsv", grouped)),
    "json lines": (lambda: LINES, read_at("t.jsonl", grouped)),
    "annotation": (lambda: ANNOTATION, read_at("a.json", msrvtt.read_annotation)),
    "list": (lambda: LIST, read_at("l.yaml", v2vbench.read_list)),
    "index": (lambda: INDEX, read_at("suite.toml", lambda path: read_index(str(path), str(path.parent)))),
    "yaml index": (lambda: LIST, read_at("suite.yaml", lambda path: read_index(str(path), str(path.parent)))),
    "dataset.json": (lambda: DATASET, read_at("dataset.json", lambda path: read_settings(path.parent))),
    "manifest": (lambda: LINES, read_at("manifest.jsonl", read_rows)),
    "prompts": (lambda: b"# films\na cat\na dog\n", read_at("p.txt", lambda path: read_prompts(str(path)))),
    "captions": (lambda: LINES, read_at("c.txt", read_captions)),
    "journal": (lambda: ENTRY, read_at("j.jsonl", journal)),
    "scene record": (lambda: {"scene": scene(), "truth": scene()}, read_at("scene.json", lambda path: read_record(str(path)))),
}  # fmt: skip


def scene() -> dict[str, Any]:
    from vedit.jobs.draw_scene import scene_for

    record: dict[str, Any] = json.loads(scene_for("a red star", 1)[0].to_json())
    return record


def peak_mb() -> float:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")
    )
    return int(line.split()[1]) / 1024


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_five_hundred_mutations_are_read_or_refused_soon_and_in_little_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    monkeypatch.setattr(config, "config_file", lambda: str(tmp_path / "config.toml"))
    monkeypatch.setenv("VEDIT_LIMITS", str(tmp_path / "limits.toml"))
    make, read = KINDS[kind]
    whole = make()
    mutate = mutations.bytes_of if isinstance(whole, bytes) else mutations.json_of
    read(
        whole if isinstance(whole, bytes) else json.dumps(whole).encode(), tmp_path
    )  # is right, and imports are not in the figures
    before, started, longest, refused = peak_mb(), time.process_time(), 0.0, 0
    for seed in range(COUNT):
        data, start = mutate(whole, seed), time.process_time()
        try:
            read(data, tmp_path)
        except ALLOWED as error:
            refused += 1
            assert isinstance(error, NotOurs) or len(str(error)) > 12, (seed, error)
        except VeditError as error:
            pytest.fail(f"seed {seed}: {type(error).__name__}: {error}")
        longest = max(longest, time.process_time() - start)
    spent, grown = time.process_time() - started, peak_mb() - before
    record_property(
        "figures", f"{kind}: {refused} refused, {spent:.2f} s in all, longest {longest:.3f} s, {grown:.0f} MB"
    )
    print(
        f"{kind}: {refused} refused, {spent:.2f} s in all, longest {longest * 1000:.1f} ms, {grown:.0f} MB"
        " more"
    )
    assert refused > 0 or kind in ("manifest", "captions", "journal", "gif")
    assert longest < CPU_S / 2 and spent < 4 * CPU_S and grown < GROWN_MB
