"""Protects vedit/models/shapes/text.py: text padded as diffusers pads it."""

import torch

from vedit.data import vocabulary
from vedit.models.shapes import text


def test_text_is_zero_after_the_first_end_mark():
    ids = vocabulary.token_ids(["a red circle", ""])
    states = text.padded(torch.ones(2, vocabulary.TEXT_LENGTH, 4), ids, vocabulary.end_id())
    assert states.any(dim=2).sum(dim=1).tolist() == [5, 2]  # start, three words, end; start, end
    assert states[0, :5].all() and states[1, :2].all()
