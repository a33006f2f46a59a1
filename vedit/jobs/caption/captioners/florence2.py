"""Florence-2 (Xiao et al. 2024): a caption of each frame, by three beams.

The task is a word that the processor turns into its question. The native class reads the conversions of
`florence-community`; those of `microsoft` bring code of their own, which is not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit.jobs.caption.captioners import Look, Opening, Told, by_medoid, reader_of, within

if TYPE_CHECKING:
    import numpy as np

    from vedit.models.readers import Reader

SUMMARY = "Florence-2, 0.23 or 0.77 billion weights: a caption of each frame"
FRAMES, EVERY, WAYS = 8, None, ("medoid",)
DEFAULT = "florence-community/Florence-2-base"
TASKS = {"short": "<CAPTION>", "detailed": "<DETAILED_CAPTION>", "more": "<MORE_DETAILED_CAPTION>"}
BEAMS = 3  # as on the model's card
side = within(768)


def open_captioner(opening: Opening) -> Florence2:
    return Florence2(reader_of(opening, "florence2", DEFAULT, "Florence2ForConditionalGeneration"))


class Florence2:
    """The network, as a captioner."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def told(self, frames_FYX3: np.ndarray, look: Look) -> Told:
        task = TASKS[look.detail]

        def say(picture: Any) -> str:
            return self.reader.answer(self.reader.of(text=task, images=picture), beams=BEAMS)

        return by_medoid(frames_FYX3, say)

    def facts(self) -> dict[str, Any]:
        return {"name": "florence2", **self.reader.known}
