"""Drawn scenes, read by the embedded judge: offline, in the words of `vedit scene`.

Every frame is judged by itself, and the clip has each field's likeliest value over all frames. Motion is
the line through the centroids of the object's colour (vedit/training/shapes_truth.py). A clip whose pixels
lie far from the colours that were read is not a drawn scene, and is refused: the judge always answers.
Shape letters: F frames, C channels, Y X rows and columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vedit.errors import InputError
from vedit.jobs.caption.captioners import Look, Opening, Told

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vedit.models.shapes.judge import Judge

SUMMARY = "drawn scenes, by the embedded judge, offline"
FRAMES, EVERY, WAYS, DEFAULT = 64, 1, ("clip",), None
IS_QUICK = True
SIZE = 64
FARTHEST = 0.08  # root mean square of pixels in 0..1 from the colours read; drawn: to 0.05, real: from 0.11


def side(width: int, height: int) -> int:
    return SIZE


def open_captioner(opening: Opening = Opening()) -> Reader:
    from safetensors.torch import load_file

    from vedit.models.place import choose_device
    from vedit.models.shapes.folder import BUILTIN
    from vedit.models.shapes.judge import Judge

    judge = Judge()
    judge.load_state_dict(load_file(BUILTIN / "judge" / "model.safetensors"))
    return Reader(judge.to(choose_device(opening.device)).eval())


class Reader:
    """The judge, as a captioner."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge

    def told(self, frames_FYX3: np.ndarray, look: Look = Look(by="clip")) -> Told:
        """Of detail all but "short" names what a plain caption leaves out: medium, plain."""
        import torch

        from vedit.data import grammar
        from vedit.training.shapes_truth import motion_of, track

        clip_FCYX = torch.from_numpy(frames_FYX3.copy()).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            logits = self.judge(clip_FCYX.to(next(self.judge.parameters()).device))
        shares = {name: of.log_softmax(1).cpu() for name, of in logits.items()}
        each = [_fields({name: of[frame] for name, of in shares.items()}) for frame in range(len(clip_FCYX))]
        fields = _fields({name: of.sum(0) for name, of in shares.items()})
        if (off := distance(clip_FCYX, fields)) > FARTHEST:
            raise InputError(
                f"it does not look like a drawn scene: its pixels are {off:.2f} from the colours of"
                f' "{grammar.caption(fields, show_motion=False)}", of 1.',
                f"The captioner shapes knows drawn scenes only, up to {FARTHEST:g}.",
                "Name one for real clips: blip, florence2 or smolvlm2",
            )
        fields["motion"] = motion_of(track(clip_FCYX, fields)) if len(clip_FCYX) > 1 else "still"
        write = grammar.caption if look.detail == "short" else detailed
        frames = tuple(grammar.caption(one, show_motion=False) for one in each)
        return Told(write(fields), frames)

    def facts(self) -> dict[str, Any]:
        return {"name": "shapes", "weights": "embedded"}


def _fields(shares: dict[str, Tensor]) -> dict[str, str]:
    from vedit.data import grammar

    return {name: grammar.FIELDS[name][int(of.argmax())] for name, of in shares.items()}


def detailed(fields: dict[str, str]) -> str:
    """A caption with a word for every field."""
    from vedit.data import grammar

    thing = " ".join(fields[name] for name in ("size", "texture", "colour", "shape"))
    moves = "standing still" if fields["motion"] == "still" else f"moving {fields['motion']}"
    ground = f"{fields['pattern']} {fields['ground']} background"
    return f"{grammar.article(thing)} {thing} {moves} on {grammar.article(ground)} {ground}"


def distance(clip_FCYX: Tensor, fields: dict[str, str]) -> float:
    """Root mean square of pixels in 0..1 from the nearest tone of a scene with these fields."""
    import torch

    from vedit.training.shapes_truth import ground_tone, object_tone

    tones = [object_tone(fields["colour"], shade) for shade in (1.0, 0.75, 0.5)]
    tones += [ground_tone(fields["ground"], marked) for marked in (0.0, 0.5, 1.0)]
    off = [(clip_FCYX - tone[:, None, None]).square().mean(1) for tone in tones]
    return float(torch.stack(off).amin(0).mean().sqrt())
