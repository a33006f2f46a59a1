"""What the engine and the methods ask of a model: one protocol, which a folder of each family answers.

Latents are float32 whatever the network's precision. Shape letters: F frames, C channels, Y X rows
and columns of the latents, L text tokens, E embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from vedit.models.alpha_bar import AlphaBar
from vedit.models.levels import Levels
from vedit.models.prompt import Prompt
from vedit.models.shown import Shown
from vedit.models.sites import Site
from vedit.models.tensors import Applier


class Network(Protocol):
    """The part that is asked at every step.

    network_dtype: its precision. channels: of the latents. text_shape: rows and width of a text embedding.
    text_tokens: of its rows those that attention sees, the first. frame_axis: whether it sees whole clips, so
    that their frames cannot go through it in parts. sees_picture: whether each clip of a call is also shown a
    picture, as `Showing` makes it.
    """

    @property
    def network_dtype(self) -> torch.dtype: ...

    @property
    def channels(self) -> int: ...

    @property
    def text_shape(self) -> tuple[int, int]: ...

    @property
    def text_tokens(self) -> int: ...

    @property
    def frame_axis(self) -> bool: ...

    @property
    def sees_picture(self) -> bool: ...

    def predict(self, latents_FCYX: Tensor, timestep: Any, text_FLE: Tensor) -> Tensor:
        """The network's output at a timestep, of the latents' shape, in its own precision.

        Frames are rows of the batch; with `frame_axis` they are an axis of their own, latents
        (B, F, C, Y, X) of whole clips with one text (B, L, E) for each.
        """

    def sites(self) -> list[Site]:
        """All places that rules can name, in forward order."""

    def tensors(self, kind: str) -> frozenset[str]:
        """Names of the tensors that rules can read and write at sites of a kind."""

    def width(self, site: Site) -> int:
        """Numbers that a token holds at a site."""

    def attached(self, sites: Sequence[Site], applier: Applier) -> AbstractContextManager[None]:
        """Let rules act at these sites; the network is itself again on any exit."""

    def checkpointing(self) -> AbstractContextManager[None]:
        """Keep the activations of one block at a time while gradients are taken."""

    def on_meta(self) -> Network:
        """The network's shape without contents, for predictions of memory."""

    def network_bytes(self) -> int:
        """Bytes of its weights."""


class Denoiser(Network, Protocol):
    """A network with its noise levels: all that sampling and inversion ask for."""

    @property
    def schedule(self) -> Levels: ...


class Family(Denoiser, Protocol):
    """A model: a network, its noise levels, a codec between pixels and latents, and a text encoder.

    scale: pixels per latent entry and side.
    """

    @property
    def name(self) -> str: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def scale(self) -> int: ...

    def latent_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the latents of a picture of a width and height."""

    @property
    def has_second(self) -> bool:
        """Whether a second network takes over at low noise."""

    def second_at(self, timestep: float) -> bool:
        """Whether it is asked at a timestep."""

    def frames(self, pictures: int) -> int:
        """Latent frames of so many pictures; raises UsageError for a number that is too large."""

    def words(self, prompt: str) -> Prompt:
        """The prompt's words and their tokens. Raises ModelError where the model keeps no tokens apart."""

    def encode_prompt(self, prompt: str) -> Tensor:
        """The text embedding, (1, L, E) float32. Raises UsageError for a prompt too long."""

    def encode_frames(self, pixels_F3YX: Tensor, chunk: int = 8) -> Tensor:
        """Latents (F, C, Y/s, X/s) of pixels in [-1, 1]."""

    def decode_latents(
        self, latents_FCYX: Tensor, chunk: int = 8, size: tuple[int, int] | None = None
    ) -> Tensor:
        """Pixels (F, 3, Y, X) in [-1, 1], float32, not clipped. size: width and height to cut to."""

    def identity(self) -> dict[str, Any]:
        """What an inversion depends on, by content."""


class Model(Family, Protocol):
    """A family's model as jobs load it from files.

    revision: the commit of a Hub model, else None. dtype: the precision asked for. offload: what leaves the
    device between its uses. is_embedded: whether it ships with vedit. native_size: the shorter side in
    pixels that it was trained at. hashes: of the weights of its parts, as far as they are known.
    """

    revision: str | None
    folder: Path
    dtype: torch.dtype
    offload: str
    hashes: dict[str, str]

    @property
    def is_embedded(self) -> bool: ...

    @property
    def native_size(self) -> int: ...

    @property
    def marks(self) -> int:
        """Tokens that each prompt has besides its words'."""

    def for_clip(self, size: tuple[int, int], pictures: int, rate: float) -> Model:
        """The model as it is for clips of a width and height and so many pictures, so many a second: for some
        the noise levels or what the network is told depend on them. Its weights are the same.
        """

    @property
    def about(self) -> tuple[str, ...]:
        """Lines of --explain on what depends on the clip."""

    @property
    def cells(self) -> int:
        """Latent cells on a side come in multiples of this."""

    def filled(self, pictures: int) -> int:
        """Pictures that the codec works on for so many: more of them where it packs some into one."""

    def packed(self, mask_FCYX: Tensor) -> Tensor:
        """A mask of pictures (F, 1, Y, X) as one of latent frames."""

    def unpacked(self, mask_fCYX: Tensor, pictures: int) -> Tensor:
        """What is known of latent frames (f, 1, Y, X), for each of so many pictures."""

    def codec_on_meta(
        self, frames: int, latent_size: tuple[int, int]
    ) -> tuple[Callable[[], Any], Callable[[], Any]]:
        """Coding and decoding of what the codec takes at once of so many pictures, without contents."""

    def codec_bytes(self) -> int:
        """Bytes of the codec's weights."""

    def text_bytes(self) -> int:
        """Bytes of the text encoder's weights."""

    def parameters(self) -> dict[str, int]:
        """How many numbers each part holds."""


class PictureReader(Network, Protocol):
    """A network that is also shown a picture."""

    def predict(
        self, latents_FCYX: Tensor, timestep: Any, text_FLE: Tensor, shown: Sequence[Shown | None] = ()
    ) -> Tensor:
        """As a network does. shown: to each clip of the batch."""


class Showing(Model, Protocol):
    """A model whose network is also shown a picture."""

    def show(self, picture_3YX: Tensor, frames: int) -> tuple[Shown, Shown]:
        """What clips of so many frames are shown of a picture in [-1, 1], and what the branch that guidance
        leads away from is.
        """


class TunableNetwork(Network, Protocol):
    """A network with layers over frames."""

    def tunable(self) -> dict[str, Tensor]:
        """The weights that tuning changes, by path."""


class Tunable(Model, Protocol):
    """A model that can be given layers over frames, whose weights are tuned on a clip."""

    @property
    def schedule(self) -> AlphaBar: ...

    def on_meta(self) -> TunableNetwork: ...

    def inflated(self) -> Tunable:
        """With layers over frames; the same again for one that has them."""

    def tunable(self) -> dict[str, Tensor]:
        """The weights that tuning changes, by path."""

    def being_tuned(self) -> AbstractContextManager[dict[str, Tensor]]:
        """The same in float32 at least and with gradients, while inside."""

    def load_tuned(self, weights: Mapping[str, Tensor]) -> None:
        """Put tuned weights in place."""
