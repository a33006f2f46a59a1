"""The parts of the embedded instruction editor: the video model's transformer, fitted, and a text encoder
that knows the words of instructions.
"""

from __future__ import annotations

from typing import Any

import torch

from vedit.data import grammar, instructions
from vedit.data.vocabulary import END, START, vocabulary
from vedit.models.shapes import parts, video
from vedit.models.wan.conditions import Places, Way, fit

WAY: Way = "added"
POSITIONS: Places = "shared"


def transformer(channels: int, way: Way = WAY) -> Any:
    """Build the velocity network, fitted to see a source."""
    return fit(video.transformer(channels), way, POSITIONS)


def text_encoder(base: Any = None) -> Any:
    """Build the text encoder of instructions. base: one of captions, whose weights it takes over."""
    from transformers import CLIPTextConfig, CLIPTextModel

    words, _ = vocabulary(instructions.WORDS)
    made = CLIPTextModel(
        CLIPTextConfig(
            **parts.TEXT,
            vocab_size=len(words),
            bos_token_id=words[START],
            eos_token_id=words[END],
            pad_token_id=words[END],
            attn_implementation="eager",
        )
    )
    if base is not None:
        _take_over(made, base, words)
    return made


def _take_over(made: Any, base: Any, words: dict[str, int]) -> None:
    """Copy the weights of a text encoder of captions; tokens keep their rows, and new ones begin small."""
    before, _ = vocabulary(grammar.WORDS)
    state = {name: value.clone() for name, value in base.state_dict().items()}
    name = next(name for name in state if name.endswith("token_embedding.weight"))
    with torch.no_grad():
        rows = made.state_dict()[name].clone()
        for token, row in words.items():
            if token in before:
                rows[row] = state[name][before[token]]
    made.load_state_dict({**state, name: rows})
