"""The edited first frame that a clip is to follow: an edit of its own, by any method and any model."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from vedit.jobs.clips import Pixels
from vedit.jobs.edit.before import follows_instructions
from vedit.jobs.edit.job import Job
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.sink import Sink
from vedit.media.atomic import apart
from vedit.media.pictures import read_file
from vedit.models.hub import EMBEDDED

if TYPE_CHECKING:
    import numpy as np


Whole = Callable[[EditRequest, Sink], object]  # runs an edit from its request to its output


def edited_first(job: Job, params: Any, pixels: Pixels, device: str, sink: Sink, whole: Whole) -> np.ndarray:
    """The first frame (Y, X, 3) uint8 at the size that is worked on, as `frame_method` edits it.

    params: the settings that name the method, its model and its own settings. whole: runs that edit.
    Raises VeditError.
    """
    import numpy as np
    from PIL import Image

    with tempfile.TemporaryDirectory() as folder, apart():
        source, output = (os.path.join(folder, name) for name in ("first.png", "edited.png"))
        Image.fromarray(np.asarray(pixels.frames_FYX3[0])).save(source)
        request = EditRequest(
            input=source,
            output=output,
            method=params.frame_method,
            model=params.frame_model or EMBEDDED,
            prompt=params.frame_prompt or job.target,
            source_prompt="" if follows_instructions(params.frame_method) else job.source,
            set=params.frame_set,
            seed=job.seed,
            size=pixels.selection.shape,
            device=device,
            metadata=False,
        )
        whole(request, sink)
        return np.array(read_file(output).convert("RGB"))
