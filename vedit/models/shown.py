"""What a video network sees of a picture beside the noisy clip. Shape letters: F frames, C channels, Y X rows
and columns of the latents, E width of the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Shown:
    """A picture as a network is shown it.

    embedding_1E: of an image encoder, read beside the text. latents_FCYX: of the picture, one for each frame
    of the clip; what a frame behind the first is given is the family's.
    """

    embedding_1E: Tensor
    latents_FCYX: Tensor
