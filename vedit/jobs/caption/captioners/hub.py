"""Any model of transformers that sees pictures and answers in words: Qwen3-VL, LFM2-VL, InternVL, GIT ...

One that is asked in words sees all frames at once; one without a chat captions each. Repositories that bring
code of their own are refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from PIL import Image

from vedit.errors import UsageError, option
from vedit.jobs.caption.captioners import Look, Opening, Told, by_medoid, question, reader_of, within
from vedit.jobs.caption.captioners.florence2 import Florence2

if TYPE_CHECKING:
    import numpy as np

    from vedit.models.readers import Reader

SUMMARY = "hub:ID, any model of transformers that takes pictures and text"
FRAMES, EVERY, WAYS = 8, None, ("clip", "medoid")
DEFAULT = ""
side = within(768)


def open_captioner(opening: Opening) -> Hub | Florence2:
    reader = reader_of(opening, "hub")
    is_florence = type(reader.network).__name__.startswith("Florence2")  # which has tasks instead of a chat
    return Florence2(reader) if is_florence else Hub(reader)


class Hub:
    """A network, as a captioner."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def told(self, frames_FYX3: np.ndarray, look: Look) -> Told:
        if not self.reader.talks:
            if look.detail != "short":
                raise UsageError(
                    f"{self.reader.name} is not asked in words: it has one kind of caption.",
                    "",
                    f"Leave out {option('detail', look.detail)}",
                )
            return by_medoid(frames_FYX3, lambda one: self.reader.answer(self.reader.of(images=one)))
        if look.by == "medoid":
            return by_medoid(frames_FYX3, lambda one: self.reader.asked(question(look.detail), [one]))
        pictures = [Image.fromarray(frame) for frame in frames_FYX3]
        return Told(self.reader.asked(question(look.detail, len(pictures)), pictures))

    def facts(self) -> dict[str, Any]:
        return {"name": "hub", **self.reader.known}
