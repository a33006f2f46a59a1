"""Loop counts, comments and application blocks stay unless told otherwise."""

from __future__ import annotations

import pytest

from tests import reference
from tests.conftest import OK, edited, gif, parsed, same_facts, same_frames, vedit

ALL_OPERATIONS = [
    ("metadata",),
    ("crop", "--left", "1"),
    ("rotate", "90"),
    ("adjust", "--brightness", "1.1"),
    ("speed", "0.5"),
    ("resize", "--width", "20", "--filter", "nearest"),
]


@pytest.mark.parametrize("name", OK)
def test_a_command_without_options_writes_what_it_read(name: str) -> None:
    source = parsed(gif(name))
    result = edited(name, "metadata")
    same_facts(result, source)
    found = reference.read(result)
    assert found.images == source.images
    assert (found.version, found.aspect, found.palette) == (source.version, source.aspect, source.palette)
    assert [kind for kind in found.order if kind != "loop"] == [
        kind for kind in source.order if kind != "loop"
    ]
    same_frames(result, source)


@pytest.mark.parametrize(
    "name",
    [
        "ok_loop_late.gif",
        "ok_loop_twice.gif",
        "ok_loop_animexts.gif",
        "ok_metadata.gif",
        "ok_netscape_buffer.gif",
    ],
)
def test_one_canonical_loop_block_stands_directly_behind_the_global_palette(name: str) -> None:
    source = parsed(gif(name))
    result = edited(name, "metadata")
    assert source.loop is not None
    start = 13 + len(source.palette or b"")
    assert (
        result[start : start + 19]
        == b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + source.loop.to_bytes(2, "little") + b"\0"
    )
    assert b"ANIMEXTS" not in result
    assert result.count(b"NETSCAPE2.0") == (2 if name == "ok_netscape_buffer.gif" else 1)


def test_buffering_sub_blocks_are_kept() -> None:
    source = parsed(gif("ok_netscape_buffer.gif"))
    assert source.apps == [(b"NETSCAPE2.0", b"\x02\0\0\x10\0")]
    assert reference.read(edited("ok_netscape_buffer.gif", "rotate", "90")).apps == source.apps


@pytest.mark.parametrize("operation", ALL_OPERATIONS, ids=lambda operation: operation[0])
@pytest.mark.parametrize(
    ("loop", "expected"), [("0", 0), ("forever", 0), ("once", None), ("keep", 7), ("1", 1), ("65535", 65535)]
)
def test_every_command_sets_the_loop_count(
    operation: tuple[str, ...], loop: str, expected: int | None
) -> None:
    assert reference.read(edited("ok_loop7.gif", *operation, "--loop", loop)).loop == expected


@pytest.mark.parametrize("loop", ["65536", "-1", "twice", "1.5", "", "\N{SUPERSCRIPT TWO}"])
def test_an_impossible_loop_count_is_refused(loop: str) -> None:
    done = vedit("gif", "metadata", f"--loop={loop}", gif("ok_plain.gif"))
    assert (done.code, done.out) == (2, b"")
    assert "forever, once, keep" in done.err


@pytest.mark.parametrize("operation", ALL_OPERATIONS, ids=lambda operation: operation[0])
@pytest.mark.parametrize("groups", ["comments", "xmp", "icc", "apps", "all", "comments,icc"])
def test_every_command_strips_groups_of_blocks(operation: tuple[str, ...], groups: str) -> None:
    source = parsed(gif("ok_metadata.gif"))
    found = reference.read(edited("ok_metadata.gif", *operation, "--strip", groups))
    chosen = groups.split(",")
    goes = {"xmp": b"XMP DataXMP", "icc": b"ICCRGBG1012", "apps": b"MYAPP001ABC"}
    assert found.comments == ([] if {"comments", "all"} & set(chosen) else source.comments)
    assert found.apps == [
        app
        for app in source.apps
        if "all" not in chosen and app[0] not in [goes.get(group) for group in chosen]
    ]
    assert found.loop == 0  # the loop count is not metadata to strip


def test_stripping_everything_leaves_no_word_behind() -> None:
    result = edited("ok_metadata.gif", "metadata", "--strip", "all")
    assert not any(word in result for word in (b"comment", b"xmp", b"MYAPP", b"ICC", b"after the images"))


@pytest.mark.parametrize("groups", ["everything", "", "comments;icc"])
def test_an_unknown_group_is_refused(groups: str) -> None:
    done = vedit("gif", "metadata", f"--strip={groups}", gif("ok_plain.gif"))
    assert done.code == 2
    assert "comments,xmp,icc,apps,all" in done.err


@pytest.mark.parametrize("comment", ["hello", "d\u00e9j\u00e0 vu", "x" * 255, "y" * 256, "z" * 1000])
def test_a_comment_is_added_to_those_there(comment: str) -> None:
    result = edited("ok_metadata.gif", "metadata", "--comment", comment)
    assert sorted(reference.read(result).comments) == sorted(
        [*parsed(gif("ok_metadata.gif")).comments, comment.encode()]
    )


def test_a_comment_turns_87a_into_89a() -> None:
    assert edited("ok_gif87a.gif", "metadata", "--comment", "hi").startswith(b"GIF89a")


def test_plain_text_moves_with_the_pictures_on_the_index_path() -> None:
    for operation in (("rotate", "180"), ("crop", "--left", "5"), ("speed", "2")):
        assert reference.read(edited("ok_plain_text.gif", *operation)).texts == 1
