"""Pairs of clips as training sees them: read from pairs.jsonl, cut to one size and length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vedit.data.layout import file_stamp
from vedit.data.pairs import Pair, read_pairs
from vedit.errors import InputError, option
from vedit.jobs.clips import Selection, fitted, has_proportions, read_pixels, size_of
from vedit.media.frames import Clip
from vedit.pixels import from_bytes, padded
from vedit.plain import digest

if TYPE_CHECKING:
    from torch import Tensor

    from vedit.training.easyv2v import PairPixels


class PairFiles:
    """The pairs of a manifest for a backbone.

    frames: at most so many of each, 4k + 1 of them or one. size: width and height that all are scaled to;
    None for the first clip's. multiple: of its sides.
    """

    def __init__(self, path: Path, *, frames: int, size: tuple[int, int] | None, multiple: int) -> None:
        self.pairs, self.frames, self.multiple = read_pairs(path), frames, multiple
        self.size = size or size_of(self.pairs[0].source)
        files = [file for pair in self.pairs for file in pair[2:7] if isinstance(file, str)]
        self.fingerprint = digest(
            [[pair._asdict() for pair in self.pairs], [file_stamp(file) for file in files], frames, self.size]
        )[:32]

    def __len__(self) -> int:
        return len(self.pairs)

    def instructions(self, index: int) -> Sequence[str]:
        return self.pairs[index].instructions

    def pixels(self, index: int) -> PairPixels:
        """Read a pair: the frames that both clips have, as many as the backbone packs whole."""
        from vedit.training.easyv2v import PairPixels

        pair = self.pairs[index]
        read = [self._read(name) for name in (pair.source, pair.target)]
        check_alike(pair, *(clip for clip, _ in read))
        source, target = (frames for _, frames in read)
        count = min(len(source), len(target))
        count = 1 + (count - 1) // 4 * 4
        mask = None if pair.mask is None else (self._mask(pair.mask, count) + 1) / 2
        reference = None if pair.reference is None else self._reference(pair.reference)
        return PairPixels(source[:count], target[:count], mask, reference, pair.kind == "transition")

    def _read(self, name: str) -> tuple[Clip, Tensor]:
        pixels = read_pixels(name, Selection(frames=self.frames, size=self.size))
        return pixels.clip, padded(from_bytes(pixels.frames_FYX3.copy()), self.multiple)

    def _mask(self, name: str, count: int) -> Tensor:
        """A mask in [-1, 1]; one picture holds for all frames."""
        mask_F1YX = self._read(name)[1].mean(dim=1, keepdim=True)
        if len(mask_F1YX) == 1:
            return mask_F1YX.expand(count, -1, -1, -1)
        if len(mask_F1YX) < count:
            raise InputError(
                f"{name}: the mask has {len(mask_F1YX)} frames, and its clips have {count}.",
                "A mask is one picture, or as long as its clips.",
            )
        return mask_F1YX[:count]

    def _reference(self, name: str) -> Tensor:
        import numpy as np
        from PIL import Image, ImageOps

        frame = read_pixels(name, lambda size: Selection(frames=1, size=size)).frames_FYX3[0]
        shown = fitted(Image.fromarray(frame), None)
        whole = ImageOps.pad(shown, self.size, Image.Resampling.LANCZOS, color=(255, 255, 255))
        return padded(from_bytes(np.array(whole))[None], self.multiple)[0]


def check_alike(pair: Pair, source: Clip, target: Clip) -> None:
    """Refuse clips of other proportions: scaled to one size, places would not be the same. Raises
    InputError.
    """
    if not has_proportions((source.width, source.height), (target.width, target.height)):
        raise InputError(
            f"pair {pair.id}: its source {pair.source} is {source.width}x{source.height}, and its target"
            f" {pair.target} {target.width}x{target.height}.",
            "What is at a place before the edit is at the same place after it.",
            "Cut both alike, or leave the pair out",
        )


def check_frames(frames: int) -> None:
    """Refuse a number of frames that no codec of Wan's layout packs whole. Raises UsageError."""
    from vedit.errors import UsageError

    if frames % 4 != 1:
        fits = max(1, frames // 4 * 4 + 1)
        raise UsageError(
            f"frames = {frames} are not 4k + 1, which the backbone packs.",
            "The first is packed alone, and the rest by four.",
            f"Try {option('set.frames', fits)}",
        )
