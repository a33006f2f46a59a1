"""The text states of captions, as the embedded models read them.

Tensor names: B captions, L text tokens, E text width.
"""

from typing import Any

import torch
from torch import Tensor

from vedit.data import vocabulary


@torch.no_grad()
def text_states(text_encoder: Any, captions: list[str], negative: str = "") -> Tensor:
    """Return the text states of captions, then as many of the negative caption."""
    ids = vocabulary.token_ids(captions + [negative] * len(captions)).to(text_encoder.device)
    states: Tensor = text_encoder(ids).last_hidden_state
    return states


def padded(states_BLE: Tensor, ids_BL: Tensor, end: int) -> Tensor:
    """Return text states with zeros after the first end mark, as diffusers' WanPipeline pads them."""
    before_BL = (ids_BL == end).cumsum(dim=1) - (ids_BL == end).long()
    return states_BLE.masked_fill((before_BL > 0)[:, :, None], 0.0)


@torch.no_grad()
def padded_states(text_encoder: Any, captions: list[str]) -> Tensor:
    """Return the text states of captions, then as many of the empty one, zero after each end."""
    ids_BL = vocabulary.token_ids([*captions, *[""] * len(captions)]).to(text_encoder.device)
    return padded(text_encoder(ids_BL).last_hidden_state, ids_BL, vocabulary.end_id())
