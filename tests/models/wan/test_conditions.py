"""Protects vedit/models/wan/conditions.py: what a transformer sees besides, and that it is otherwise untouched."""

import copy
from itertools import pairwise

import pytest
import torch

from tests.engine.video_folder import wan_transformer
from vedit.errors import ModelError
from vedit.models.wan.conditions import Conditions, fit, fitted_names, predict, unfit

torch.set_num_threads(1)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


NOISY, TEXT, LEVEL = drawn(2, 4, 3, 8, 8), drawn(2, 5, 16, seed=1), torch.tensor([400.0, 700.0])
SOURCE, MASK, PICTURE = (
    drawn(2, 4, 3, 8, 8, seed=2),
    drawn(2, 4, 3, 8, 8, seed=3),
    drawn(2, 4, 1, 8, 8, seed=4),
)
WAYS = [("sequence", "sequential"), ("sequence", "shared"), ("added", "sequential"), ("added", "shared")]


def plain(transformer):
    with torch.no_grad():
        return transformer(NOISY, LEVEL, TEXT, return_dict=False)[0]


def trained(way, positions, **changes):
    """A fitted transformer whose new embeddings are not zero any more."""
    made = fit(wan_transformer(num_layers=2, **changes), way, positions, "copy").eval()
    torch.nn.init.normal_(made.patch_embedding.mask.weight, generator=torch.Generator().manual_seed(9))
    return made


@pytest.mark.parametrize(("way", "positions"), WAYS)
def test_a_plain_call_has_the_same_bits_before_and_after_the_exchange(way, positions):
    transformer = wan_transformer(num_layers=2).eval()
    before, names = plain(transformer), set(transformer.state_dict())
    fit(transformer, way, positions)
    assert torch.equal(plain(transformer), before)
    unfit(transformer)
    assert torch.equal(plain(transformer), before) and set(transformer.state_dict()) == names


@pytest.mark.parametrize(("way", "positions"), WAYS)
@torch.no_grad()
def test_at_a_zero_start_neither_source_nor_mask_matters(way, positions):
    transformer = fit(wan_transformer(num_layers=2), way, positions).eval()
    first = predict(transformer, NOISY, LEVEL, TEXT, Conditions(SOURCE, MASK))
    assert torch.equal(first, predict(transformer, NOISY, LEVEL, TEXT, Conditions(2 * SOURCE)))


@torch.no_grad()
def test_what_is_added_is_the_backbone_at_a_zero_start_and_more_frames_are_not():
    for way, is_same in (("added", True), ("sequence", False)):
        transformer = wan_transformer(num_layers=2).eval()
        before = plain(transformer)
        after = predict(fit(transformer, way), NOISY, LEVEL, TEXT, Conditions(SOURCE))
        assert after.shape == before.shape and torch.allclose(after, before, atol=1e-5) is is_same


@pytest.mark.parametrize(("way", "positions"), WAYS)
@torch.no_grad()
def test_source_mask_and_reference_each_change_what_comes_out(way, positions):
    transformer = trained(way, positions)
    seen = [
        predict(transformer, NOISY, LEVEL, TEXT, given)
        for given in (
            Conditions(SOURCE),
            Conditions(2 * SOURCE),
            Conditions(SOURCE, MASK),
            Conditions(SOURCE, MASK, PICTURE),
        )
    ]
    assert all(not torch.allclose(a, b, atol=1e-4) for a, b in pairwise(seen))
    assert all(output.shape == NOISY.shape and output.isfinite().all() for output in seen)


@pytest.mark.parametrize(("way", "positions"), WAYS)
@torch.no_grad()
def test_rows_of_a_batch_do_not_see_each_other(way, positions):
    transformer = trained(way, positions)
    both = predict(transformer, NOISY, LEVEL, TEXT, Conditions(SOURCE, MASK, PICTURE))
    alone = predict(
        transformer, NOISY[1:], LEVEL[1:], TEXT[1:], Conditions(SOURCE[1:], MASK[1:], PICTURE[1:])
    )
    assert torch.allclose(both[1:], alone, atol=1e-5)


@torch.no_grad()
def test_a_sequence_is_the_transformer_on_the_tokens_it_is_said_to_be():
    """Against a transformer that is given the embedded tokens in place of its own, by hand."""
    transformer = trained("sequence", "sequential")
    expected = copy.deepcopy(transformer)
    embeddings = expected.patch_embedding
    tokens = torch.cat(
        [
            embeddings.source(SOURCE) + embeddings.mask(MASK),
            embeddings.base(NOISY),
            embeddings.reference(PICTURE),
        ],
        2,
    )
    unfit(expected)
    expected.patch_embedding = torch.nn.Identity()
    expected.patch_embedding.forward = lambda x: tokens
    times = torch.cat(
        [torch.zeros(2, 48), LEVEL[:, None].expand(-1, 48), torch.zeros(2, 16)], 1
    )  # 16 a frame
    whole = expected(torch.cat([SOURCE, NOISY, PICTURE], 2), times, TEXT, return_dict=False)[0]
    made = predict(transformer, NOISY, LEVEL, TEXT, Conditions(SOURCE, MASK, PICTURE))
    assert torch.equal(made, whole[:, :, 3:6])


@torch.no_grad()
def test_shared_positions_put_source_and_target_at_the_same_places():
    transformer = trained("sequence", "shared")
    rope = transformer.rope
    seen = []
    rope.register_forward_hook(lambda module, given, angles: seen.append(angles))
    predict(transformer, NOISY, LEVEL, TEXT, Conditions(SOURCE, None, PICTURE))
    cos = seen[0][0].unflatten(1, (7, 16))
    assert torch.equal(cos[:, :3], cos[:, 3:6]) and not torch.equal(cos[:, :1], cos[:, 1:2])
    base = rope.base(torch.zeros(1, 4, 4, 8, 8))[0].unflatten(1, (4, 16))
    assert torch.equal(cos[:, 6], base[:, 3])  # the reference comes behind the last of them


@pytest.mark.parametrize("way", ["sequence", "added"])
def test_gradients_reach_every_new_embedding_with_checkpointing_too(way):
    for checkpointing in (False, True):
        transformer = fit(wan_transformer(num_layers=2), way)
        if checkpointing:
            transformer.enable_gradient_checkpointing()
        transformer.train()
        predict(transformer, NOISY, LEVEL, TEXT, Conditions(SOURCE, MASK, PICTURE)).square().mean().backward()
        new = [transformer.patch_embedding.get_submodule(name) for name in ("source", "mask", "reference")]
        assert all(part.weight.grad.abs().sum() > 0 for part in new)


def test_patches_of_several_frames_are_refused():
    with pytest.raises(ModelError, match="patches are 2 frames long"):
        fit(wan_transformer(patch_size=(2, 2, 2)))


def test_weights_of_a_plain_transformer_fit_by_their_new_names():
    transformer = wan_transformer()
    names = fitted_names(transformer.state_dict())
    missing, more = fit(wan_transformer(6), "added").load_state_dict(names, strict=False)
    assert not more and {name.split(".")[1] for name in missing} == {"source", "mask", "reference"}
