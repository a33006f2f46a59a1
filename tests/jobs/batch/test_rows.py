from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import vedit
from vedit.errors import InputError, UsageError, VeditError
from vedit.jobs.batch.keys import Contents, Keys
from vedit.jobs.batch.matrix import over
from vedit.jobs.batch.plan import resolve
from vedit.jobs.batch.rows import Shared, read_rows

PROMPTS = ("a grey fox", "a grey wolf in the snow")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Eight files that are clips by their names, with their words beside them."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(8):
        (folder / f"c{number}.gif").write_bytes(b"clip %d" % number)
        (folder / f"c{number}.txt").write_text(f"wolf {number}\n")
    return folder


def keys_of(path: Path, shared: Shared = Shared()) -> set[str]:
    items = resolve(read_rows([str(path)], shared), Keys(Contents()))
    assert len({item.output for item in items}) == len(items)
    return {item.key for item in items}


AXES = (over("method=p2p,pnp"), over("seed=0,1"))


def written(folder: Path) -> list[dict[str, object]]:
    return [
        {"input": f"c{n}.gif", "source": f"wolf {n}", "prompt": prompt, "method": method, "seed": seed}
        for n in range(8)
        for prompt in PROMPTS
        for method in ("p2p", "pnp")
        for seed in (0, 1)
    ]


def test_the_same_edits_have_the_same_64_keys_from_every_form(clips: Path) -> None:
    rows = written(clips)
    (clips / "a.csv").write_text(
        "input;source;prompt;method;seed\n" + "".join(";".join(map(str, row.values())) + "\n" for row in rows)
    )
    (clips / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    prompts = json.dumps(PROMPTS)
    (clips / "a.toml").write_text(
        "".join(f'[[clip]]\ninput = "c{n}.gif"\nsource = "wolf {n}"\nprompt = {prompts}\n' for n in range(8))
        + '[[method]]\nname = "p2p"\n[[method]]\nname = "pnp"\n[[axis]]\nkey = "seed"\nvalues = [0, 1]\n'
    )
    edits = "".join(f"    - prompt: {prompt}\n" for prompt in PROMPTS)
    (clips / "a.yaml").write_text(
        "data:\n" + "".join(f"- video_id: c{n}\n  prompt: wolf {n}\n  edit:\n{edits}" for n in range(8))
    )
    over_all = Shared(over=AXES)
    wanted = keys_of(clips / "a.csv")
    assert len(wanted) == 64
    assert keys_of(clips / "a.jsonl") == wanted
    assert keys_of(clips / "a.toml") == wanted
    assert keys_of(clips / "a.yaml", Shared(over=(AXES[0], AXES[1]))) == wanted
    assert keys_of(clips, Shared(prompts=PROMPTS, source_from="txt", over=over_all.over)) == wanted


def test_every_wrong_row_is_told_at_once_with_its_number(clips: Path) -> None:
    rows = [f"c0.gif,wolf,fox {n},0" for n in range(50)]
    rows[16], rows[30], rows[40] = "c0.gif,wolf,,0", "c0.gif,wolf,fox,zero", ",wolf,fox,0"
    (clips / "a.csv").write_text("input,source,prompt,seed\n" + "\n".join(rows) + "\n")
    with pytest.raises(UsageError) as told:
        read_rows([str(clips / "a.csv")])
    assert [
        word in str(told.value)
        for word in ("row 17: it has no prompt", "row 31: seed", "row 41: it has no input")
    ]
    assert "3 mistakes" in str(told.value)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("promt", "a fox", "no key 'promt'; did you mean prompt?"),
        ("method", "p2q", "did you mean p2p?"),
        ("preset", "p2p-shape", "did you mean p2p-shapes?"),
        ("steps", 0, "steps 0 is not a whole number from 1"),
        ("start", -1, "start -1 is not a whole number from 0"),
    ],
)
def test_a_wrong_key_or_value_is_told_with_the_nearest(
    clips: Path, key: str, value: object, told: str
) -> None:
    (clips / "a.jsonl").write_text(json.dumps({"input": "c0.gif", "prompt": "a fox", key: value}) + "\n")
    with pytest.raises(UsageError, match=r"a\.jsonl line 1") as error:
        read_rows([str(clips / "a.jsonl")])
    assert told in str(error.value)


def test_a_table_may_have_a_byte_order_mark_tabs_and_own_columns(clips: Path) -> None:
    text = "input\tprompt\tset.blend_words\t_shot\nc0.gif\ta fox\t['fox']\t7\n"
    (clips / "a.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    (row,) = read_rows([str(clips / "a.csv")])
    assert row.request.set == {"blend_words": ["fox"]}
    assert dict(row.extra) == {"_shot": "7"}


def test_values_in_step_must_be_as_many(clips: Path) -> None:
    shared = Shared(prompts=("a fox",), over=(over("seed=0,1,2"), over("method=p2p,pnp")), pair="zip")
    with pytest.raises(UsageError, match="seed 3, method 2"):
        read_rows([str(clips)], shared)
    shared = Shared(prompts=("a fox",), over=(over("seed=0,1"), over("method=p2p,pnp")), pair="zip")
    assert len(read_rows([str(clips)], shared)) == 16


def test_an_axis_can_be_for_some_rows_and_names_its_values(clips: Path) -> None:
    (clips / "a.toml").write_text(
        '[[clip]]\ninput = "c0.gif"\nprompt = "a fox"\n[[method]]\nname = "p2p"\n[[method]]\nname = "pnp"\n'
        '[[axis]]\nkey = "set.equalizer"\nvalues = [{ fox = 2 }, { fox = 4 }]\nname = "c"\nlabels = ["2", "4"]\n'
        'only = { method = "p2p" }\n[[exclude]]\nmethod = "pnp"\nseed = 9\n'
    )
    items = resolve(read_rows([str(clips / "a.toml")]), Keys(Contents()))
    assert [item.output for item in items] == [
        "c0/p2p-a-fox-c2-s0.gif",
        "c0/p2p-a-fox-c4-s0.gif",
        "c0/pnp-a-fox-s0.gif",
    ]


def test_two_rows_with_one_name_are_told_before_the_run(clips: Path) -> None:
    (clips / "a.csv").write_text("input,prompt,output\nc0.gif,a fox,x.gif\nc1.gif,a fox,x.gif\n")
    with pytest.raises(UsageError, match=r"row 1 and .*row 2 would both be x\.gif"):
        resolve(read_rows([str(clips / "a.csv")]), Keys(Contents()))


@pytest.mark.parametrize("output", ["../x.gif", "/tmp/x.gif", "a/../../x.gif"])
def test_an_output_that_leaves_the_folder_is_refused(clips: Path, output: str) -> None:
    (clips / "a.csv").write_text(f"input,prompt,output\nc0.gif,a fox,{output}\n")
    result = vedit("batch", clips / "a.csv", "-O", clips / "out")
    assert result.code == 2
    assert "row 1" in result.err and "leaves the folder" in result.err
    assert not (clips / "out").exists()


def test_a_key_goes_by_contents_and_not_by_names(clips: Path) -> None:
    before = keys_of(clips, Shared(prompts=("a fox",)))
    for clip in clips.glob("*.gif"):
        clip.rename(clip.with_name(f"renamed-{clip.name}"))
    assert keys_of(clips, Shared(prompts=("a fox",))) == before
    (clips / "renamed-c0.gif").write_bytes(b"another")
    assert len(keys_of(clips, Shared(prompts=("a fox",))) - before) == 1


def test_a_wrong_column_is_one_mistake_however_many_rows_there_are(clips: Path) -> None:
    rows = "".join(f"c0.gif,wolf,fox,{n}\n" for n in range(50))
    (clips / "a.csv").write_text(f"input,source,prompt,sead\n{rows}")
    with pytest.raises(UsageError, match=r"row 1 and 49 more: no key 'sead'; did you mean seed\?") as told:
        read_rows([str(clips / "a.csv")])
    assert "1 mistake." in str(told.value)


BROKEN = {
    "empty.csv": (b"", "there is nothing to edit in it"),
    "header.csv": (b"input,prompt\n", "there is nothing to edit in it"),
    "empty.jsonl": (b"\n\n", "there is nothing to edit in it"),
    "empty.toml": (b"", "there is nothing to edit in it"),
    "latin.csv": ("input,prompt\nc0.gif,caf\xe9\n".encode("latin-1"), "UTF-8"),
    "wide.csv": ("input,prompt\nc0.gif,x\n".encode("utf-16"), "UTF-8"),
    "twice.csv": (b"input,prompt,prompt\nc0.gif,x,y\n", "two columns are called 'prompt'"),
    "alias.csv": (
        b"input,prompt,source,source_prompt\nc0.gif,x,y,z\n",
        "source and source_prompt are one key",
    ),
    "long.csv": (b"input,prompt\nc0.gif,x,y,z\n", "line 2 has 4 cells"),
    "quote.csv": (b'input,prompt\nc0.gif,x\nc1.gif,"y\nc2.gif,z\n', "unexpected end of data"),
    "torn.jsonl": (b'{"input": "c0.gif", "prompt": "x"}\n' * 16 + b'{"input": "c0', "line 17"),
    "list.jsonl": (b'{"input": "c0.gif", "prompt": "x"}\n' * 16 + b"[1]", "line 17"),
    "axis.toml": (
        b'[[clip]]\ninput = "c0.gif"\nprompt = "x"\n[[axis]]\nkey = "seed"\nvalues = []\n',
        "values is not a list of values",
    ),
    "prompt.toml": (b'[[clip]]\ninput = "c0.gif"\nprompt = []\n', "prompt is a list without a prompt"),
    "broken.toml": (b"[[clip]\n", "not TOML"),
    "noprompt.csv": (b"input\nc0.gif\n", '--prompt "..." gives one to all'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_list_that_cannot_be_read_is_named_with_what_is_wrong(clips: Path, name: str) -> None:
    content, told = BROKEN[name]
    (clips / name).write_bytes(content)
    result = vedit("batch", clips / name, "-O", clips / "out")
    assert result.code == 2
    assert name in result.err and told in result.err
    assert not (clips / "out").exists()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_rows_that_a_spreadsheet_emptied_are_passed_over(clips: Path, end: str) -> None:
    lines = ["input;prompt", "c0.gif;a fox", ";", "c1.gif;a fox;"]
    (clips / "a.csv").write_text(end.join(lines) + end, newline="")
    assert [row.where.rpartition(" ")[2] for row in read_rows([str(clips / "a.csv")])] == ["1", "3"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_tables_of_spreadsheets_are_read_alike(clips: Path, end: str, mark: bytes, between: str) -> None:
    lines = [("input", "prompt", "_note", ""), ("c0.gif", '"a fox, red; small"', "x", ""), ("", "", "", "")]
    text = end.join(between.join(cells) for cells in lines[:2]) + end
    (clips / "a.csv").write_bytes(mark + text.encode())
    (row,) = read_rows([str(clips / "a.csv")])
    assert (row.request.prompt, dict(row.extra)) == ("a fox, red; small", {"_note": "x"})


def test_a_link_that_leads_out_of_the_folder_is_refused(clips: Path) -> None:
    out, elsewhere = clips / "out", clips / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / "sub").symlink_to(elsewhere)
    (clips / "a.csv").write_text("input,prompt,output\nc0.gif,fox,x.gif\nc1.gif,fox,sub/x.gif\n")
    result = vedit("batch", clips / "a.csv", "-O", out)
    assert result.code == 4
    assert "row 2" in result.err and "is a link to" in result.err


@pytest.mark.parametrize("place", ["file", "state", "below a file"])
def test_a_folder_for_outputs_that_cannot_be_one_is_an_output_error(clips: Path, place: str) -> None:
    out = clips / "out"
    if place == "state":
        out.mkdir()
        (out / ".vedit-batch").write_text("")
    else:
        out.write_text("")
    (clips / "a.csv").write_text("input,prompt\nc0.gif,fox\n")
    target = out / "deeper" if place == "below a file" else out
    result = vedit("batch", clips / "a.csv", "-O", target)
    assert result.code == 4
    assert "out" in result.err and "Traceback" not in result.err


def test_clips_of_a_folder_get_their_words_from_their_run_records(clips: Path) -> None:
    records = {
        "c0": {"command": "edit", "target_prompt": "a grey fox"},
        "c1": {"command": "generate", "clips": [[{"prompt": "a red star"}]]},
        "c2": {"command": "scene", "caption": "a blue circle"},
    }
    for name, record in records.items():
        (clips / f"{name}.gif.vedit.json").write_text(json.dumps(record))
    for clip in [*clips.glob("c[3-9].gif"), *clips.glob("*.txt")]:
        clip.unlink()
    shared = Shared(prompts=("{caption} in the snow",), source_from="record")
    rows = read_rows([str(clips)], shared)
    assert [row.request.source_prompt for row in rows] == ["a grey fox", "a red star", "a blue circle"]
    assert rows[0].request.prompt == "a grey fox in the snow"
    (clips / "c0.gif.vedit.json").unlink()
    with pytest.raises(VeditError, match=r"c0\.gif"):
        read_rows([str(clips)], shared)


def test_a_folder_of_results_and_pictures_beside_clips(clips: Path) -> None:
    (clips / "frames").mkdir()
    for number in range(2):
        (clips / "frames" / f"{number}.png").write_bytes(b"")
    (clips / "out").mkdir()
    (clips / "out" / "c9.gif").write_bytes(b"")
    rows = read_rows([str(clips)], Shared(prompts=("a fox",), results=str(clips / "out")))
    names = [Path(row.request.input).name for row in rows]
    assert names == [*[f"c{n}.gif" for n in range(8)], "frames"] or names == ["frames", *names[1:]]


def test_a_mask_is_what_it_is_whatever_it_is_called(clips: Path) -> None:
    (clips / "m.png").write_bytes(b"mask")
    masks = "m.png;not:m.png;box:1,2,3,4;5,6,7,8;frames:2-4"
    (clips / "a.jsonl").write_text(json.dumps({"input": "c0.gif", "prompt": "a fox", "mask": masks}) + "\n")
    (row,) = read_rows([str(clips / "a.jsonl")])
    there = str(clips / "m.png")
    assert row.request.mask == (there, f"not:{there}", "box:1,2,3,4", "5,6,7,8", "frames:2-4")
    before = keys_of(clips / "a.jsonl")
    (clips / "m.png").write_bytes(b"another")
    assert keys_of(clips / "a.jsonl") != before


def test_clips_without_words_are_told_together(clips: Path) -> None:
    for number in (2, 5):
        (clips / f"c{number}.txt").unlink()
    with pytest.raises(InputError, match="2 of 8 clips have no words") as told:
        read_rows([str(clips)], Shared(prompts=("a fox",), source_from="txt"))
    assert "c2.txt" in str(told.value) and "c5.txt" in str(told.value)


def test_rows_give_instructions_weights_and_pictures(clips: Path) -> None:
    from vedit.models.wan.weights import Recipe, write_recipe

    weights = clips / "weights"
    weights.mkdir()
    write_recipe(weights, Recipe(backbone="shapes-video", rank=0), {})
    (weights / "embeddings.safetensors").write_bytes(b"")
    (clips / "look.png").write_bytes(b"picture")
    table = (
        "input,instruction,weights,ref,mask\n"
        "c0.gif,make the circle blue,weights,,\n"
        "c1.gif,make the circle red,weights,look.png,box:0%,0%,50%,50%\n".replace(
            "box:0%,0%,50%,50%", '"box:0%,0%,50%,50%@1s-2s;time:1s-"'
        )
    )
    (clips / "jobs.csv").write_text(table)
    plain, full = (row.request for row in read_rows([str(clips / "jobs.csv")]))
    assert (plain.method, plain.prompt, plain.set) == ("easyv2v", "make the circle blue", full.set)
    assert full.set == {"weights": str(weights)} and full.ref == str(clips / "look.png")
    assert full.mask == ("box:0%,0%,50%,50%@1s-2s", "time:1s-") and full.model == "shapes-video"
    before = keys_of(clips / "jobs.csv")
    weights.rename(clips / "elsewhere")
    (clips / "jobs.csv").write_text(
        table.replace(",weights,", ",elsewhere,").replace("ion,elsewhere,", "ion,weights,")
    )
    assert keys_of(clips / "jobs.csv") == before  # what they are, not where they lie
    (clips / "elsewhere" / "embeddings.safetensors").write_bytes(b"other")
    assert not keys_of(clips / "jobs.csv") & before


def test_what_does_not_go_with_an_instruction_is_told_with_its_row(clips: Path) -> None:
    rows = (
        {"input": "c0.gif", "instruction": "make the circle blue", "prompt": "a blue circle"},
        {"input": "c1.gif", "instruction": "make the circle blue", "method": "p2p"},
        {"input": "c2.gif", "instruction": "make the circle blue", "source": "a red circle"},
        {"input": "c3.gif", "prompt": "a blue circle", "ref": "look.png"},
    )
    (clips / "jobs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(UsageError) as error:
        read_rows([str(clips / "jobs.jsonl")])
    told = str(error.value)
    assert "line 1: instruction and prompt are both given" in told
    assert "line 2: p2p follows no instruction" in told and "name easyv2v" in told
    assert "line 3: easyv2v follows an instruction, and needs no --source-prompt" in told
    assert "line 4: --ref is for a method that follows an instruction, and p2p does not" in told
