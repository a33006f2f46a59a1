"""SmolVLM2 (Marafioti et al. 2025): looks at a whole clip, with the time of each frame.

Its processor writes the number of frames as a word, for which it needs num2words, and takes a clip for one of
24 frames per second unless it is told the rate.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit.jobs.caption.captioners import Look, Opening, Told, by_medoid, question, reader_of, within

if TYPE_CHECKING:
    import numpy as np

    from vedit.models.readers import Reader

SUMMARY = "SmolVLM2, 0.26 or 0.5 billion weights: a caption of the whole clip"
FRAMES, EVERY, WAYS = 16, None, ("clip", "medoid")
DEFAULT = "HuggingFaceTB/SmolVLM2-256M-Video-Instruct"
side = within(512)


def open_captioner(opening: Opening) -> SmolVlm2:
    return SmolVlm2(reader_of(opening, "smolvlm2", DEFAULT, "SmolVLMForConditionalGeneration"))


class SmolVlm2:
    """The network, as a captioner."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader

    def told(self, frames_FYX3: np.ndarray, look: Look) -> Told:
        if look.by == "medoid":
            return by_medoid(frames_FYX3, lambda picture: self.reader.asked(question(look.detail), [picture]))
        return Told(self.reader.answer(self.inputs(frames_FYX3, look)))

    def inputs(self, frames_FYX3: np.ndarray, look: Look) -> Any:
        """The question about a clip, with the times of its frames, none of which is left out."""
        text = question(look.detail).replace("this picture", "this clip")
        content = [{"type": "video"}, {"type": "text", "text": text}]
        prompt = self.reader.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        count = len(frames_FYX3)
        clip = {
            "fps": look.rate,
            "total_num_frames": count,
            "frames_indices": list(range(count)),
            "duration": count / look.rate,
        }
        return self.reader.of(
            text=[prompt], videos=[frames_FYX3], video_metadata=[clip], do_sample_frames=False
        )

    def facts(self) -> dict[str, Any]:
        return {"name": "smolvlm2", **self.reader.known}
