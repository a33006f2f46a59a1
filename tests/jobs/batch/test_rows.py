from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import vedit
from vedit.errors import UsageError
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
