"""Records of strangers: what they may open, and five hundred damaged ones."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.conftest import vedit
from tests.odd_json import mutated
from vedit.errors import InputError, ModelError, UsageError
from vedit.jobs import replay as app
from vedit.jobs.record import comment_of, find_record, write_record
from vedit.jobs.record_shape import check_read, check_record
from vedit.jobs.recorded import SEAL, for_comment, for_sidecar, is_inside, recorded

EDIT: dict[str, Any] = {
    "command": "edit", "input": "src.gif", "method": "sdedit", "params": {"steps": 2}, "source_prompt": "a red cat", "target_prompt": "a dog", "seed": 1,
    "model": {"id": "shapes", "revision": None, "unet_sha256": "0" * 64, "vae_sha256": "0" * 64, "text_sha256": "0" * 64, "inflation": "none"},
    "device": "cpu", "dtype": "float32",
    "clip": {"sha256": "0" * 64, "pixels_sha256": "1" * 64, "frames": [0, 1, 3], "size": [64, 64], "crop": "centre"},
    "selection": {"start": 0, "stride": 1, "frames": 3, "size": 64}, "frames_per_call": 8, "window": None, "edit_mask": ["box:0,0,8,8"], "keep_outside": True,
    "inversion": {"key": "k", "kind": "ddim", "steps": 2, "fixed_point": 1, "null": None}, "versions": {"torch": "1"}, "output": "a.gif", "mask": None,
}  # fmt: skip
MADE: dict[str, Any] = {
    "command": "generate", "model": {"name": "shapes", "revision": None, "unet_sha256": "0" * 64},
    "choices": {"device": "cpu", "dtype": "auto", "extra": {}}, "versions": {"torch": "1"},
    "clips": [[{"prompt": "a", "negative": None, "seed": 0, "frames": 5, "size": [16, 16], "steps": 1, "guidance": None, "fps": 8.0, "extra": {}}]],
}  # fmt: skip


def test_whole_records_are_read() -> None:
    assert check_record(EDIT, "a.gif") == EDIT and check_record(MADE, "a.gif") == MADE


@pytest.mark.parametrize(
    "change",
    [
        {"input": 0}, {"input": "a\0b"}, {"edit_mask": [5]}, {"dtype": "int8"}, {"model": "shapes"}, {"frames_per_call": 0}, {"seed": -1}, {"seed": 1.5},
        {"params": {"steps": 10**9}}, {"params": {"no": 1}}, {"method": "rm"}, {"method": ["ddim"]}, {"device": "cuda; ls"},
        {"inversion": {**EDIT["inversion"], "fixed_point": 10**9}}, {"selection": {**EDIT["selection"], "size": 10**6}}, {"keep_outside": "yes"},
        {"selection": {**EDIT["selection"], "stride": 0}}, {"model": {**EDIT["model"], "revision": "../../x"}}, {"clip": {"sha256": "x"}}, {"window": float("nan")},
    ],
)  # fmt: skip
def test_a_wrong_type_or_a_number_out_of_range_is_told_with_its_key(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"a\.gif: not a run record"):
        check_record({**EDIT, **change}, "a.gif")


class Reached(Exception):
    """The work itself would begin."""


@pytest.fixture
def harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything of a replay but the work."""

    def work(*arguments: Any, **named: Any) -> Any:
        raise Reached

    for name in ("plan_edit", "plan", "load_model"):
        monkeypatch.setattr(app, name, work)


def test_five_hundred_damaged_records_are_told_or_understood(
    harmless: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(app, "hash_weights", lambda folder: "0" * 64)
    (tmp_path / "src.gif").write_bytes(b"source")
    edit = {**EDIT, "clip": {**EDIT["clip"], "sha256": hashlib.sha256(b"source").hexdigest()}}
    rng = random.Random(11)
    outcomes = {"told": 0, "reached": 0}
    for number in range(500):
        record = mutated(edit if number % 2 else MADE, rng)
        text = json.dumps(record)
        path = tmp_path / "x.gif.vedit.json"
        path.write_text(text)
        try:
            found = find_record(str(tmp_path / "x.gif"))
            app.steps_outside(found, set())
            with opened() as names:
                app.replay(found.record, "o.gif", may_fetch=False)
        except (InputError, ModelError, UsageError) as error:
            assert len(str(error)) < 2000
            outcomes["told"] += 1
        except Reached:
            outcomes["reached"] += 1
        assert not [
            name
            for name in names
            if not name.startswith((str(tmp_path), *INSTALLED)) and "site-packages" not in name
        ]
        try:
            check_read(record, "x")
        except InputError:
            pass
    assert outcomes["told"] > 200 and outcomes["reached"] > 10, outcomes


INSTALLED = (
    os.path.realpath(sys.prefix),
    os.path.realpath(sys.base_prefix),
    sys.prefix,
    str(Path(__file__).parents[2]),
    "/proc/",
    "/sys/",
    "/etc/os-release",
)
_watched: list[list[str]] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _watched and isinstance(arguments[0], (str, bytes)):
        _watched[-1].append(os.path.realpath(os.fsdecode(arguments[0])))


@contextmanager
def opened() -> Iterator[list[str]]:
    """The paths that Python opens within it."""
    if not _hooked:  # it cannot be taken away again
        sys.addaudithook(_hook)
        _hooked.append(True)
    names: list[str] = []
    _watched.append(names)
    try:
        yield names
    finally:
        _watched.pop()


@pytest.fixture
def mail(tmp_path: Path) -> Path:
    """A folder with a clip and a drawn scene that was edited, as it comes by mail; a private picture lies
    beside it.
    """
    (tmp_path / "mail").mkdir()
    (tmp_path / "private").mkdir()
    for name in ("mail/src.gif", "private/diary.gif"):
        assert (
            vedit(
                "scene",
                "a red circle moving left on a grey background",
                "-o",
                tmp_path / name,
                "--frames",
                "2",
            ).code
            == 0
        )
    return tmp_path / "mail"


def carrying(path: Path, source: Path, record: dict[str, Any]) -> Path:
    """A GIF with exactly this recipe in its comment."""
    words = json.dumps({"vedit": record})
    assert vedit("gif", "metadata", "--comment", words, source, "-o", path, "-y").code == 0
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"input": "/private/diary.gif"},
        {"input": "../private/diary.gif"},
        {"input": "link.gif"},
        {"edit_mask": ["../private/diary.gif"]},
        {"model": {**EDIT["model"], "id": "attacker/model"}},
        {"model": {**EDIT["model"], "id": "../private"}},
    ],
)
@pytest.mark.parametrize("is_sidecar", [False, True])
def test_a_stranger_s_record_opens_nothing_outside_its_folder_unasked(
    mail: Path, change: dict[str, Any], is_sidecar: bool
) -> None:
    (mail / "link.gif").symlink_to("../private/diary.gif")
    record = {**EDIT, **change}
    if record["input"].startswith("/"):
        record["input"] = str(mail.parent) + record["input"]
    if is_sidecar:
        (mail / "funny.gif").write_bytes((mail / "src.gif").read_bytes())
        (mail / "funny.gif.vedit.json").write_text(
            json.dumps({**record, SEAL: {"output_sha256": None, "by": "0" * 64}})
        )
    else:
        carrying(mail / "funny.gif", mail / "src.gif", record)
    with opened() as names:
        result = vedit("replay", mail / "funny.gif", "-o", mail / "again.gif")
    assert result.code == 3 and "--yes" in result.err and not (mail / "again.gif").exists(), result.err
    assert not [name for name in names if "private" in name]


def test_what_a_stranger_s_record_would_do_is_shown_even_inside_its_folder(mail: Path) -> None:
    carrying(mail / "funny.gif", mail / "src.gif", EDIT)
    result = vedit("replay", mail / "funny.gif", "-o", mail / "again.gif")
    assert result.code == 3 and "src.gif" in result.err and "sdedit" in result.err
    assert "is not the clip that was edited" in result.err  # its hash is not that of the record


def test_a_pipe_is_named(mail: Path) -> None:
    carrying(mail / "funny.gif", mail / "src.gif", {**EDIT, "input": "-"})
    result = vedit("replay", mail / "funny.gif", "-o", mail / "again.gif")
    assert result.code == 3 and "pipe" in result.err and "--input" in result.err


@pytest.mark.parametrize("input", ["/dev/zero", "fifo", ".", "0"])
def test_what_is_no_file_is_not_read(mail: Path, input: str) -> None:
    os.mkfifo(mail / "fifo")
    carrying(mail / "funny.gif", mail / "src.gif", {**EDIT, "input": input})
    result = vedit("replay", mail / "funny.gif", "-o", mail / "again.gif", "--yes")
    assert result.code == 3 and "not a file" in result.err


def test_a_record_of_this_user_is_known_again_wherever_the_call_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path / "settings"))
    (tmp_path / "work" / "out").mkdir(parents=True)
    (tmp_path / "work" / "src.gif").write_bytes(b"source")
    (tmp_path / "work" / "out" / "a.gif").write_bytes(b"output")
    monkeypatch.chdir(tmp_path / "work")
    write_record("out/a.gif", EDIT)
    monkeypatch.chdir(tmp_path)
    found = find_record("work/out/a.gif")
    assert found.is_own and not found.is_stale and os.path.samefile(found.record["input"], "work/src.gif")
    assert (tmp_path / "settings" / "records.key").stat().st_mode & 0o777 == 0o600
    sidecar = tmp_path / "work" / "out" / "a.gif.vedit.json"
    assert (
        str(tmp_path) not in sidecar.read_text() and json.loads(sidecar.read_text())["input"] == "../src.gif"
    )
    sidecar.write_text(sidecar.read_text().replace("../src.gif", "../../x.gif"))
    assert not find_record("work/out/a.gif").is_own
    write_record("work/out/a.gif", EDIT)
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path / "another"))
    assert not find_record("work/out/a.gif").is_own


def test_a_record_does_not_describe_what_replaced_its_output(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"output")
    write_record(str(tmp_path / "a.gif"), EDIT)
    (tmp_path / "a.gif").write_bytes(b"another")
    with pytest.raises(InputError, match="describes another file"):
        find_record(str(tmp_path / "a.gif"))


def test_a_recipe_that_travels_names_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "m.png").write_bytes(b"mask")
    record = {
        **EDIT,
        "input": str(tmp_path / "src.gif"),
        "edit_mask": [str(tmp_path / "m.png"), "box:0,0,8,8"],
        "model": {**EDIT["model"], "id": str(tmp_path / "model")},
    }
    told = for_comment(record)
    assert (told["input"], told["edit_mask"], told["model"]["id"]) == (
        "src.gif",
        ["./m.png", "box:0,0,8,8"],
        "./model",
    )
    assert str(tmp_path) not in comment_of(record) and list(told["files"]) == ["m.png"]
    again = recorded(told, "a.gif", str(tmp_path / "a.gif"), is_sidecar=False).record
    assert again["input"] == str(tmp_path / "src.gif") and os.path.samefile(
        again["model"]["id"], tmp_path / "model"
    )
    assert for_sidecar(record, str(tmp_path / "a.gif"))["model"]["id"] == "./model"


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("a", True),
        ("b/c", True),
        ("../x", False),
        ("/etc/passwd", False),
        ("b/../../x", False),
        ("a\0b", False),
    ],
)
def test_inside_is_told_by_the_real_path(tmp_path: Path, path: str, inside: bool) -> None:
    assert is_inside(os.path.join(tmp_path, path), str(tmp_path)) is inside
