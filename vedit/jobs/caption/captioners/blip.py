"""BLIP (Li et al. 2022): the smallest captioner of real pictures; one short sentence, whatever the detail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit.jobs.caption.captioners import Look, Opening, Told, by_medoid, reader_of, within

if TYPE_CHECKING:
    import numpy as np

    from vedit.models.readers import Reader

SUMMARY = "BLIP, 0.25 billion weights: a short caption of each frame"
FRAMES, EVERY, WAYS = 8, None, ("medoid",)
DEFAULT = "Salesforce/blip-image-captioning-base"
BEAMS = 3
side = within(384)


def open_captioner(opening: Opening) -> Blip:
    return Blip(reader_of(opening, "blip", DEFAULT, "BlipForConditionalGeneration"))


class Blip:
    """The network, as a captioner."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def told(self, frames_FYX3: np.ndarray, look: Look) -> Told:
        def say(picture: Any) -> str:
            return self.reader.answer(self.reader.of(images=picture), most_tokens=50, beams=BEAMS)

        return by_medoid(frames_FYX3, say)

    def facts(self) -> dict[str, Any]:
        return {"name": "blip", **self.reader.known}
