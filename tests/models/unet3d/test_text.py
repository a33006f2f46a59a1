"""Protects vedit/models/unet3d/text.py: hashing, and pretrained encoders against their own definitions."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
)

from vedit.data import vocabulary
from vedit.errors import ModelError, UsageError
from vedit.models.unet3d.text import TextEncoder, hashed


def test_hashing_ignores_case_and_punctuation_and_hears_the_order():
    assert torch.equal(hashed("Digit 5, moving LEFT."), hashed("digit 5 moving left"))
    assert not torch.equal(hashed("left of right"), hashed("right of left"))
    assert not hashed("").any() and not hashed("...").any()


def test_hashed_vectors_have_mean_square_one_and_share_what_captions_share():
    left, right, cat = (
        hashed(text) for text in ("digit 5 moving left", "digit 5 moving right", "a sleeping cat")
    )
    assert left.square().mean().item() == pytest.approx(1)
    assert left @ right > 4 * abs(left @ cat)


def test_hashes_stay_the_same_between_versions():
    nonzero = hashed("digit five").nonzero().flatten().tolist()
    assert nonzero == sorted(nonzero) and len(nonzero) == 3  # two words and their pair
    assert (hashed("digit five")[nonzero] / 256**0.5).tolist() == pytest.approx(
        [value / 3**0.5 for value in SIGNS]
    )
    assert nonzero == PLACES


PLACES, SIGNS = [111, 160, 179], [-1, -1, 1]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    model = BertModel(
        BertConfig(
            vocab_size=8,
            hidden_size=12,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=16,
            max_position_embeddings=16,
        )
    )
    model.eval().save_pretrained(folder)
    return folder, model.eval()


@torch.no_grad()
def test_bert_is_the_mean_of_its_last_states_but_the_first(bert):
    folder, model = bert
    encoder = TextEncoder("bert", str(folder))
    states = model(torch.tensor([[2, 5, 6, 7, 3]])).last_hidden_state[0]
    assert encoder.width == 12
    assert torch.allclose(encoder(["a red cat"])[0], states[1:].mean(0), atol=1e-6)


@torch.no_grad()
def test_clip_is_the_projected_embedding(tmp_path):
    tokenizer = vocabulary.tokenizer()
    tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=12, projection_dim=10, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=24, eos_token_id=tokenizer.eos_token_id, bos_token_id=tokenizer.bos_token_id,
    )  # fmt: skip
    model = CLIPTextModelWithProjection(config).eval()
    model.save_pretrained(tmp_path)
    assert isinstance(tokenizer, CLIPTokenizer)
    encoder = TextEncoder("clip", str(tmp_path))
    expected = model(tokenizer("a red circle", return_tensors="pt").input_ids).text_embeds[0]
    assert encoder.width == 10 and torch.allclose(encoder(["a red circle"])[0], expected, atol=1e-6)


def test_what_is_not_there_or_not_known_is_said(tmp_path):
    with pytest.raises(UsageError, match="did you mean bert"):
        TextEncoder("brt")
    with pytest.raises(ModelError, match="cannot be loaded"):
        TextEncoder("t5", str(tmp_path))
