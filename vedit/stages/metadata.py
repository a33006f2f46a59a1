"""Change what a GIF says about itself: loop count, comments, application blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vedit.media.frames import NO_LABELS, Block, Clip, Frames, Labels
from vedit.stages.options import Option, Text

SUMMARY = "Set the loop count and comments, strip metadata; pixels are never decoded."
POSITIONAL = None
EXAMPLES = (
    ("vedit gif metadata --loop forever in.gif -o out.gif", "make it repeat"),
    (
        "vedit gif metadata --strip all in.gif -o out.gif",
        "remove comments, XMP, ICC and other application blocks",
    ),
)
GROUPS = ("comments", "xmp", "icc", "apps", "all")


@dataclass(frozen=True)
class LoopCount:
    """`forever`, `once`, `keep`, or the repeat count from 1 to 65535."""

    kind: ClassVar[str] = "loop"
    low: ClassVar[int] = 0
    high: ClassVar[int] = 65535

    def __call__(self, value: str) -> int | str:
        if value in ("forever", "once", "keep"):
            return value
        if value.isdecimal() and len(value) < 6 and int(value) <= self.high:
            return int(value)
        raise ValueError("expected forever, once, keep, or a number from 0 (forever) to 65535")


@dataclass(frozen=True)
class Groups:
    """Groups of blocks to strip, with commas between."""

    names: ClassVar[tuple[str, ...]] = GROUPS
    kind: ClassVar[str] = "words"

    def __call__(self, value: str) -> tuple[str, ...]:
        chosen = tuple(part.strip() for part in value.split(",") if part.strip())
        wrong = [part for part in chosen if part not in GROUPS]
        if wrong or not chosen:
            raise ValueError(f"expected some of {','.join(GROUPS)}")
        return chosen


OPTIONS = (
    Option(
        "loop",
        LoopCount(),
        "repeats: a number (0 forever), forever, once (no loop block) or keep",
        "N|forever|once|keep",
        "keep",
    ),
    Option("strip", Groups(), "remove blocks: comments,xmp,icc,apps,all", "GROUPS"),
    Option("comment", Text(), "add a comment", "TEXT"),
)


def make(**values: Any) -> Metadata:
    return Metadata(**values)


def group_of(block: Block) -> str | None:
    """The strip group a block belongs to; None for what is never stripped (plain text)."""
    if block.label == 0xFE:
        return "comments"
    if block.label != 0xFF:
        return None
    if block.app == b"XMP DataXMP":
        return "xmp"
    return "icc" if block.app == b"ICCRGBG1012" else "apps"


class Metadata:
    """Change loop, comments and application blocks of a clip; frames pass through."""

    name = "metadata"
    prepass: str | None = None
    accepts: tuple[str, ...] = ("packed", "index", "rgba", "yuv")

    def __init__(
        self, loop: int | str = "keep", strip: tuple[str, ...] | None = None, comment: str | None = None
    ) -> None:
        self.loop = loop
        self.strip = strip or ()
        self.comment = comment

    def open(self, clip: Clip) -> Clip:
        loop = {"keep": clip.loop, "forever": 0, "once": None}.get(str(self.loop), self.loop)
        blocks = self._kept(clip.blocks)
        if self.comment:
            blocks.append(comment_block(self.comment))
        self.tail = clip.tail
        return clip.but(loop=loop, blocks=blocks, labels=self._kept_labels(clip.labels))

    def _kept_labels(self, labels: Labels) -> Labels:
        """The tags and chapters of a film: a comment is one of the tags, and `all` removes everything."""
        if "all" in self.strip:
            labels = NO_LABELS
        new = self.comment or ("" if "comments" in self.strip else None)
        if new is None:
            return labels
        tags = [(key, value) for key, value in labels.tags if key.lower() != "comment"]
        return labels._replace(tags=(*tags, ("comment", new)) if new else tuple(tags))

    def _kept(self, blocks: list[Block] | tuple[Block, ...]) -> list[Block]:
        if not self.strip:
            return list(blocks)
        return [
            block
            for block in blocks
            if (group := group_of(block)) is None or not ({group, "all"} & set(self.strip))
        ]

    def run(self, frames: Frames) -> Frames:
        for frame in frames:
            yield frame.but(before=tuple(self._kept(frame.before))) if frame.before and self.strip else frame
        self.tail[:] = self._kept(self.tail)  # known only once the last frame has passed


def comment_block(comment: str) -> Block:
    """A comment extension of UTF-8 text in sub-blocks of at most 255 bytes."""
    data = comment.encode()
    parts = (data[i : i + 255] for i in range(0, len(data), 255))
    return Block(0xFE, b"".join(bytes((len(part),)) + part for part in parts) + b"\x00")
