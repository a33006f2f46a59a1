from __future__ import annotations

import pytest

from vedit.errors import UsageError
from vedit.jobs.batch.names import check_template, named, safe

KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ("a fox: 100% grey?", "a-fox--100--grey-"),
        ("Füchse", "Füchse"),
        ("con.gif", "_con.gif"),
        ("LPT1", "_LPT1"),
        ("..", "--"),
        (".hidden", "hidden"),
        ("x" * 200 + ".gif", "x" * 87 + "-01234567.gif"),
    ],
)
def test_a_part_is_one_that_any_disk_takes(part: str, wanted: str) -> None:
    assert safe(part, KEY) == wanted
    assert len(wanted.encode()) <= 100


def test_long_prompts_that_begin_alike_have_two_names() -> None:
    first, second = (named("{prompt:10}.gif", {"prompt": f"a long prompt {n}"}, KEY) for n in (1, 2))
    assert first != second
    assert first.startswith("a-long-pro-")


def test_a_field_with_a_slash_makes_no_folder() -> None:
    assert (
        named("{label}.gif", {"label": "../x"}, KEY) == "-x.gif"
        or named("{label}.gif", {"label": "../x"}, KEY) == "--x.gif"
    )
    assert named("{relpath}/{label}.gif", {"relpath": "a/../b", "label": "x"}, KEY) == "a/--/b/x.gif"


@pytest.mark.parametrize(
    "template", ["{stam}.{ext}", "{stem", "../{stem}.{ext}", "/tmp/{stem}.{ext}", "{stem}", "{stem:x}.{ext}"]
)
def test_a_template_that_names_nothing_is_refused(template: str) -> None:
    with pytest.raises(UsageError, match="--name"):
        check_template(template)
