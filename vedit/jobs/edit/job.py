"""What was settled for one edit: what its request asked for, with the frames and parameters that are known
now.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from vedit.jobs.clips import Selection


class Job(NamedTuple):
    """One edit.

    method: name of a method. params: its parameters by name, validated by the method's class.
    source: what the clip shows; target: what it should show. inversion: an artefact to use.
    mask: forms of `vedit.jobs.masks`, united. keep_outside: put the source's own pixels back outside
    the mask, theirs or that of the method's words; None: if there is one. window: frames edited together,
    None to choose. save_masks: a clip, or a folder of pictures, of the mask that the edit acted in.
    save_attention: a folder for a picture per word. detail: give back what the codec loses of the clip where
    the edit left it alone; None: but for an ablation.
    ref, ref_from, ref_edit: a reference picture, or the frame that is edited to be one, and how.
    invert_like: the inversion of a run record, to be found or made again. memory_mib: what may be used.
    control, image_prompt, image_adapter: what the network goes by besides text, as they were typed.
    flow: what estimates motion, for masks that follow it and for methods.
    """

    input: str
    output: str
    method: str
    source: str
    target: str
    selection: Selection
    params: dict[str, Any]
    seed: int = 0
    inversion: str | None = None
    mask: tuple[str, ...] = ()
    keep_outside: bool | None = None
    frames_per_call: int = 8
    preview: str | None = None
    record: bool = True
    window: int | None = None
    save_masks: str | None = None
    save_attention: str | None = None
    invert_like: dict[str, Any] | None = None
    memory_mib: int | None = None
    detail: bool | None = None
    ref: str | None = None
    ref_from: int | None = None
    ref_edit: str | None = None
    control: tuple[str, ...] = ()
    image_prompt: str | None = None
    image_adapter: str | None = None
    flow: str | None = None
