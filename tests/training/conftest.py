"""Small tensors train fastest on one thread, and on a busy machine by a factor of ten."""

import pytest
import torch

from vedit.models.shapes import video

SMALL = {"num_attention_heads": 2, "attention_head_dim": 12, "freq_dim": 16, "ffn_dim": 24, "num_layers": 2}


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def small(monkeypatch):
    """The video transformer in small: two layers, 24 wide."""
    monkeypatch.setattr(video, "TRANSFORMER", {**video.TRANSFORMER, **SMALL})
