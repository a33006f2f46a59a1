"""What a method module has, what it is asked for, and what it says before it runs.

A method module holds

    SUMMARY      one line of help
    NEEDS        a frozenset; "inversion" when `Window.trajectory` is read, "source prompt" when the
                 inversion must have been made with this very prompt, "pictures" when it is for
                 networks that see frames one by one, "flow" when it is for those of flow matching,
                 "temporal" when it is for those with layers over frames, "first frame" for those that are
                 shown the first frame of a clip, "mask" when it edits nothing without one, "instruction" when
                 its prompt is one
    Params       its settings, a `MethodParams`; presets and options are checked by it
    longest      longest(model, params) -> frames of a clip that are edited together at most, where a method
                 knows that; it need not be there
    prepare      prepare(model, request, params) -> Prepared: everything that is the same for all
                 windows of a clip, read and checked once; all that --explain prints, and `run`

`model` is a `vedit.models.family.Family`.
Shape letters: F frames, C channels, Y X latent rows and columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vedit.engine.rules import Plan, SeeBeside, Steps
from vedit.engine.rules.beside import KeysOf
from vedit.engine.sample import Step
from vedit.errors import Warn, silent
from vedit.models.sites import Select

IMAGE = "image prompt"  # name of the rule that shows one


@dataclass(frozen=True)
class Picture:
    """A picture as tokens (1, T, E): its own, and those that guidance leads away from.

    keys_of: from the path of a cross-attention and tokens to keys and values. weight: above 0.
    """

    tokens: Tensor
    away: Tensor
    keys_of: KeysOf
    weight: float

    def rule(self, branches: Sequence[str], steps: Steps, mask_F1YX: Tensor | None = None) -> SeeBeside:
        """What lets the target's branches see it, in a region where there is a mask."""
        given = {"tgt": self.tokens, "tgt/uncond": self.away}
        tokens = {branch: given[branch] for branch in branches if branch in given}
        return SeeBeside(Select("cross"), tokens, self.keys_of, steps, self.weight, mask_F1YX, name=IMAGE)


@dataclass(frozen=True)
class Request:
    """What is asked of a method: the same for every window of a clip.

    source_prompt: what the clip was inverted with. timesteps: of sampling, noisiest first.
    shape: channels, rows and columns of the latents. frames: of the largest window. tiles: frames of the
    clip that one of them shows, where several are laid out as one picture.
    has_mask: whether windows bring an edit mask of the user's. wants_attention: whether the last
    step is to show where each word looked. warn: told of what shows only while it runs. reference: a
    picture (3, Y, X) in [-1, 1] of what the edit should look like, at the size that is worked on. image: a
    picture that the target's cross-attention sees beside the prompt.
    """

    source_prompt: str
    target_prompt: str
    timesteps: Sequence[float]
    shape: tuple[int, int, int]
    frames: int
    has_mask: bool = False
    seed: int = 0
    frames_per_call: int = 8
    wants_attention: bool = False
    warn: Warn = silent
    tiles: int = 1
    reference: Tensor | None = None
    image: Picture | None = None

    def frames_together(self, frames_per_call: int) -> int:
        """Pictures that go through the network at once, where the clip's frames go by so many."""
        return min(self.frames, max(1, frames_per_call // self.tiles))

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the latents."""
        return self.shape[1], self.shape[2]

    def blank(self) -> Window:
        """A window as large as the largest, without contents."""
        latents = torch.zeros(1, *self.shape).expand(self.frames, -1, -1, -1)
        mask = torch.ones(1, 1, *self.size).expand(self.frames, -1, -1, -1) if self.has_mask else None
        return Window(latents, lambda index: latents, mask)


@dataclass(frozen=True)
class Window:
    """Frames that go through a method together, at latent size.

    latents_FCYX: z0, of the clip. trajectory: the stored source latents by index of the request's
    timesteps; one past the last index gives z0. mask_F1YX: 1 inside the edit, or None.
    uncond: optimised null embeddings (1 or F, L, E) by step index, of a null-text inversion.
    first_frame: index in the whole clip of this window's first frame. begin: what the target starts
    as; the source's own latents at that step when not given. pixels_F3YX: the clip itself in [-1, 1], `scale`
    times the latents' rows and columns; None where nobody knows it.
    """

    latents_FCYX: Tensor
    trajectory: Callable[[int], Tensor]
    mask_F1YX: Tensor | None = None
    uncond: Callable[[int], Tensor] | None = None
    first_frame: int = 0
    begin: Tensor | None = None
    pixels_F3YX: Tensor | None = None
    mask_pixels: Callable[[], Tensor] | None = None

    def at(self, index: int) -> Tensor:
        """What the target starts as at a step."""
        return self.trajectory(index) if self.begin is None else self.begin


@dataclass(frozen=True)
class Prepared:
    """A method made ready for a clip: what it will do, known before its first evaluation, and how to run it.

    run: from a window to its steps; the last one's `latents["tgt"]` is the result, and it shows the
    edit mask and the attention, where there are some. branches: of each network call. plan: rules and
    probes, of a window without contents. iterations: steps taken, the first of them with index
    `start`; total: steps that `run` yields, if more. notes: what the user should know.
    about: further lines of --explain, such as how words correspond. makes_mask: whether the last step
    shows a mask of the method's own. held_bytes: what is kept between calls, besides latents and maps.
    before: evaluations per frame before the first step. cost: all of them, where they are not one of each
    branch in each iteration. seen: what the network is shown, where that is not the clip's frames one by
    one. beside: further frames that it is shown beside the clip's. facts: what else the result depends on,
    for its record.
    """

    run: Callable[[Window], Iterator[Step]]
    branches: tuple[str, ...]
    plan: Plan
    iterations: int
    start: int = 0
    total: int = 0
    notes: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    makes_mask: bool = False
    held_bytes: int = 0
    before: int = 0
    cost: int | None = None
    seen: Request | None = None
    beside: int = 0
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def evaluations(self) -> int:
        """Network evaluations per frame, without the inversion."""
        if self.cost is not None:
            return self.cost
        return self.before + len(self.branches) * self.iterations
