"""Presets: shipped and own, every mistake in one report, precedence with origins, comments kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import reference
from tests.conftest import NASTY
from vedit import presets
from vedit.cli import execute
from vedit.errors import UsageError
from vedit.jobs.media.chain import build_chain


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty settings folder, and no VEDIT_ variable but the one that names it."""
    for name in [name for name in os.environ if name.startswith("VEDIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("VEDIT_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path / "config"


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", presets.paths())
def test_shipped_preset_is_right_and_says_what_it_does(name: str) -> None:
    preset = presets.load(name)
    assert preset.is_shipped and preset.summary.endswith(".")
    if preset.kind == "chain":
        build_chain(presets.load_chain(name))


def test_load_chain_gives_stages_with_option_texts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.toml",
        """
        kind = "chain"
        [[stage]]
        name = "resize"
        width = 320
        only-shrink = true
        [[stage]]
        name = "speed"
        factor = 1.5
        [[stage]]
        name = "metadata"
        strip = ["comments", "xmp"]
        """,
    )
    assert presets.load_chain(path) == [
        ("resize", {"width": "320", "only_shrink": "true"}),
        ("speed", {"factor": "1.5"}),
        ("metadata", {"strip": "comments,xmp"}),
    ]


def test_every_mistake_of_a_file_is_reported_at_once_with_file_table_and_nearest_spelling(
    tmp_path: Path,
) -> None:
    path = write(
        tmp_path / "bad.toml",
        """
        kind = "chain"
        sumary = "x"
        [[stage]]
        name = "resiz"
        [[stage]]
        name = "resize"
        widht = 3
        filter = "lancos"
        [[stage]]
        name = "speed"
        fps = 3
        delay = 2
        [[stage]]
        width = 3
        """,
    )
    with pytest.raises(UsageError) as caught:
        presets.load(path)
    first, *lines = str(caught.value).splitlines()
    assert first == f"{path}: 6 mistakes."
    expected = [
        "  top level: no key 'sumary'; did you mean summary?",
        "  [[stage]] 1: no stage is called 'resiz'; did you mean resize?",
        "  [[stage]] 2 (resize): no option 'widht'; did you mean width?",
        (
            "  [[stage]] 2 (resize): filter = 'lancos': expected nearest, box, bilinear, bicubic or lanczos;"
            " did you mean lanczos?"
        ),
        "  [[stage]] 3: speed got --delay and --fps.",
        "  [[stage]] 4: there is no name.",
    ]
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("summary = 'x'", "there is no kind"),
        ("kind = 'chian'", "did you mean chain?"),
        ("kind = 'chain'", "one [[stage]] table or more"),
        ("kind = 'chain'\nstage = 3", "one [[stage]] table or more"),
        ("kind = ", "A preset is a TOML file"),
    ],
)
def test_a_file_that_is_no_preset_is_explained(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path / "x.toml", text)
    with pytest.raises(UsageError) as caught:
        presets.load(path)
    assert message in str(caught.value) and path in str(caught.value)


def test_an_unknown_preset_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="did you mean web-small"):
        presets.load_chain("websmall")


def test_a_preset_of_an_embedded_stage_gives_what_the_trainer_reads() -> None:
    from vedit.training.stages import STAGES

    pytest.importorskip("torch")
    from vedit.training.loop import Options

    found = {name for name in presets.paths() if presets.load(name).kind == "embedded"}
    assert found == {stage.preset for stage in STAGES}
    assert presets.load_embedded("shapes-motion")["batch"] == 4
    assert set(presets.EMBEDDED_KEYS) - {"batch"} <= set(Options.__dataclass_fields__)


def test_mistakes_of_an_embedded_stage_are_named(tmp_path: Path) -> None:
    path = write(
        tmp_path / "mine.toml",
        'kind = "embedded"\nstage = "motions"\nbatsh = 4\nwarmup = -1\nema_decay = 1\n',
    )
    with pytest.raises(UsageError) as caught:
        presets.load_embedded(path)
    assert "no batch" not in str(caught.value)  # whether one is needed depends on the stage
    needy = write(tmp_path / "needy.toml", 'kind = "embedded"\nstage = "motion"\nrate = 1e-3\nanneal = 5\n')
    with pytest.raises(UsageError, match=r"(?s)2 mistakes.*anneal is the end.*no batch"):
        presets.load_embedded(needy)
    told = str(caught.value)
    assert (
        "5 mistakes" in told
        and "stage is called 'motions'" in told
        and "did you mean motion?" in told.lower()
    )
    assert (
        "'batsh'" in told
        and "no rate" in told
        and "warmup = -1 is no positive whole number" in told
        and "ema_decay = 1 is not below 1" in told
    )


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        presets.load(str(tmp_path / "none.toml"))


def test_own_preset_hides_a_shipped_one(config: Path) -> None:
    write(config / "presets" / "web-small.toml", 'kind = "chain"\n[[stage]]\nname = "rotate"\nangle = 90\n')
    assert presets.load_chain("web-small") == [("rotate", {"angle": "90"})]
    assert not presets.load("web-small").is_shipped


def test_environment_goes_before_preset_before_user_config_before_default(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path / "x.toml", 'kind = "chain"\n[[stage]]\nname = "adjust"\nbrightness = 1.1\ncontrast = 1.2\n'
    )
    write(config / "config.toml", "[gif.adjust]\ncontrast = 1.9\nsaturation = 0.5\n")
    monkeypatch.setenv("VEDIT_GIF_ADJUST_BRIGHTNESS", "2")
    ((stage, settings),) = presets.resolve_chain(presets.load(path).table)
    assert stage == "adjust"
    assert settings == {
        "brightness": ("2", "environment"),
        "contrast": ("1.2", "preset"),
        "saturation": ("0.5", "user config"),
        "gamma": ("1", "default"),
        "pivot": ("middle", "default"),
    }
    assert presets.load_chain(path) == [
        ("adjust", {"brightness": "2", "contrast": "1.2", "saturation": "0.5"})
    ]


def test_show_prints_a_preset_that_gives_the_same_chain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in presets.paths() if presets.load(name).kind == "chain"]:
        assert execute(["presets", "show", name]) == 0
        shown = capsys.readouterr().out
        path = write(tmp_path / f"{name}-shown.toml", shown)
        assert build_chain(presets.load_chain(path))
        given = dict(presets.load_chain(name))
        assert {
            stage: {key: options[key] for key in given[stage]} for stage, options in presets.load_chain(path)
        } == given
    assert "# preset" in shown and "# default" in shown


@pytest.fixture
def p2p() -> None:
    """Skip where the method's libraries are missing."""
    pytest.importorskip("torch")
    pytest.importorskip("vedit.methods.p2p")


def test_load_method_gives_the_parameters_of_its_preset(p2p: None, config: Path) -> None:
    write(
        config / "presets" / "mine.toml", 'kind = "method"\nmethod = "p2p"\nsteps = 20\nself-replace = 0.3\n'
    )
    assert presets.load_method("p2p", "mine") == {"steps": 20, "self_replace": 0.3}
    with pytest.raises(UsageError, match="for the method p2p, not for pnp"):
        presets.load_method("pnp", "mine")


def test_load_method_names_every_mistake_at_once(p2p: None, tmp_path: Path) -> None:
    path = write(
        tmp_path / "x.toml", 'kind = "method"\nmethod = "p2p"\nsummary = 3\nstepz = 20\nself_replace = 3\n'
    )
    with pytest.raises(UsageError) as caught:
        presets.load_method("p2p", path)
    text = str(caught.value)
    assert (
        text.startswith(f"{path}: 3 mistakes.")
        and "summary is not a text" in text
        and "did you mean steps?" in text
        and "self_replace = 3" in text
    )


def test_a_method_preset_may_be_absent_unless_it_is_asked_for(p2p: None) -> None:
    assert presets.load_method("p2p", "no-such-preset", required=False) == {}
    with pytest.raises(UsageError, match="there is no preset called"):
        presets.load_method("p2p", "no-such-preset")
    with pytest.raises(UsageError, match="is a chain, not a method"):
        presets.load_method("p2p", "web-small")


def test_a_method_preset_is_listed_and_shown_without_loading_its_method(p2p: None, config: Path) -> None:
    path = write(
        config / "presets" / "mine.toml",
        'kind = "method"\nmethod = "p2p"\nsummary = "Mine."\nsteps = 20 # few\n',
    )
    code = (
        "import sys; from vedit.cli import execute; execute(['presets', 'list']); execute(['presets', 'show',"
        " 'mine']); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ["mine", "method", "Mine.", "(yours)"] in [line.split() for line in done.stdout.splitlines()]
    assert f"# {path}\nkind" in done.stdout and "steps = 20 # few" in done.stdout
    assert done.stdout.endswith("False\n")


def test_list_shows_own_and_shipped_and_survives_a_broken_one(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(config / "presets" / "broken.toml", "kind = 'chain'\n")
    assert execute(["presets", "list", "--json"]) == 0
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [row["name"] for row in rows] == sorted(row["name"] for row in rows)
    assert {row["name"]: row["kind"] for row in rows}["broken"] is None
    assert "broken.toml: 1 mistake" in captured.err


def test_save_from_a_preset_keeps_its_comments(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        execute(
            [
                "presets",
                "save",
                "tiny",
                "--from",
                "web-small",
                "--set",
                "resize.width=240",
                "--set",
                "2.loop=forever",
            ]
        )
        == 0
    )
    path = config / "presets" / "tiny.toml"
    assert capsys.readouterr().out == f"{path}\n"
    assert "width = 240          # the height follows the aspect" in path.read_text(encoding="utf-8")
    assert presets.load_chain("tiny") == [
        ("resize", {"width": "240", "only_shrink": "true"}),
        ("metadata", {"strip": "all", "loop": "forever"}),
    ]


def test_save_a_chain_and_read_it_back() -> None:
    assert execute(["presets", "save", "half", "crop:left=10%; resize:scale=50%,only-shrink; speed:2"]) == 0
    assert presets.load_chain("half") == [
        ("crop", {"left": "10%"}),
        ("resize", {"scale": "50%", "only_shrink": "true"}),
        ("speed", {"factor": "2"}),
    ]


def test_save_refuses_to_replace_unless_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["presets", "save", "mine", "rotate:90"]
    assert [execute(command), execute(command), execute([*command, "-n"]), execute([*command, "-y"])] == [
        0,
        4,
        4,
        0,
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["x"],
        ["x", "rotate:90", "--from", "web-small"],
        ["../x", "rotate:90"],
        ["x", "--from", "web-small", "--set", "width=3"],
        ["x", "--from", "web-small", "--set", "crop.left=3"],
        ["x", "--from", "web-small", "--set", "resize.width=-7"],
        ["x", "rotate:90; rotate:90", "--set", "rotate.angle=0"],
        ["x", "rotate:90", "-y", "-n"],
    ],
)
def test_save_writes_nothing_when_something_is_wrong(
    config: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["presets", "save", *arguments]) == 2
    assert not (config / "presets").exists()
    assert capsys.readouterr().err.startswith("vedit: ")


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text()))
def test_a_value_written_as_toml_reads_back_as_the_same_text(value: object) -> None:
    import tomllib

    import tomlkit

    text = presets.as_text(value)
    assert presets.as_text(tomllib.loads(tomlkit.dumps({"v": presets.as_value(text)}))["v"]) == text


def test_presets_command_loads_no_heavy_library() -> None:
    heavy = {"torch", "PIL", "numpy", "pydantic", "tomlkit"}
    code = (
        f"import sys; from vedit.cli import execute; execute(['presets', 'list']); print(sorted({heavy} &"
        " set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


BAD_PRESETS = {
    "list-kind": b"kind = ['chain']",
    "table-kind": b"[kind]\na = 1",
    "latin-1": b'kind = "chain"\nsummary = "\xe9"',
    "deep": b"kind = " + b"[" * 5000,
    "long-number": b"kind = " + b"9" * 5000,
    "embedded-list": b'kind = "embedded"\nstage = ["unet"]\nrate = [1]',
    "method-table": b'kind = "method"\n[method]\na = 1',
    "stage-name": b'kind = "chain"\n[[stage]]\nname = ["resize"]\nwidth = {a = 1}',
    "stage-value": b'kind = "chain"\n[[stage]]\nname = "resize"\nwidth = {a = [1]}\nfilter = 1979-05-27',
    "train": b'kind = "train"\nmodel = [1]',
}


def test_one_bad_preset_is_told_and_the_others_are_listed(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, content in BAD_PRESETS.items():
        write(config / "presets" / f"{name}.toml", "")
        (config / "presets" / f"{name}.toml").write_bytes(content)
    os.mkfifo(config / "presets" / "pipe.toml")
    assert execute(["presets", "list", "--json"]) == 0
    done = capsys.readouterr()
    rows = {row["name"]: row for row in map(json.loads, done.out.splitlines())}
    for name in (*BAD_PRESETS, "pipe"):
        assert rows[name]["kind"] is None
        assert f"{name}.toml: " in done.err
    assert rows["web-small"]["kind"] == "chain"


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ("gif = 3", "gif = 3 is not a table"),
        ("[gif]\nresize = [1]", "gif.resize = [1] is not a table"),
        ("[gif.resize.width]\na = 1", "gif.resize.width is a table"),
        ("[gif.resize]\nfilter = 3", "--filter 3: expected"),
        ("[gif.resize]\nfilter = ['nearest', 'box']", "--filter nearest,box: expected"),
        ("[gif.resize]\nwidth = 1979-05-27", "--width 1979-05-27: expected"),
        ("[gif.resize]\ncolors = [2, 3]", "'2,3' is not a valid integer range"),
        ("[gif.resize]\nquiet = 7.5", "not a valid boolean"),
    ],
)
def test_settings_of_wrong_types_are_told(
    tmp_path: Path, config: Path, settings: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(config / "config.toml", settings)
    assert (
        execute(
            ["gif", "resize", "--scale", "50%", str(NASTY / "ok_plain.gif"), "-o", str(tmp_path / "o.gif")]
        )
        == 2
    )
    assert why in capsys.readouterr().err
    assert execute(["presets", "show", "web-small"]) in (0, 2)


def test_numbers_and_switches_of_the_settings_are_taken_as_if_typed(tmp_path: Path, config: Path) -> None:
    write(
        config / "config.toml",
        "[gif.resize]\nwidth = 10\nonly-shrink = true\nstrip = ['comments', 'xmp']\nlimit ="
        " 'canvas=10k'\nquiet = true\n[data.moving-mnist]\nseed = 3",
    )
    assert execute(["gif", "resize", str(NASTY / "ok_plain.gif"), "-o", str(tmp_path / "o.gif")]) == 0
    assert reference.read((tmp_path / "o.gif").read_bytes()).size == (10, 8)


def test_every_kind_of_preset_has_a_module_that_refuses_keys_of_other_kinds() -> None:
    from vedit.presets import kinds

    assert {presets.load(name).kind for name in presets.paths()} == set(kinds.names())
    for name in kinds.names():
        said = list(kinds.load(name).mistakes({"kind": name, "nonsense": 1}))
        assert said and all(line.endswith(".") for line in said)
