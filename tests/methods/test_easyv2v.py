"""Protects vedit/methods/easyv2v.py and vedit/models/wan/weights.py: weights found, fitted, and out again."""

import json
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from tests.engine.video_folder import write_wan
from vedit.errors import ModelError, UsageError
from vedit.methods import easyv2v
from vedit.methods.base import Request, Window
from vedit.models.load import load_model
from vedit.models.wan.conditions import fit
from vedit.models.wan.weights import (
    DRAWN,
    EMBEDDINGS,
    LORA,
    Recipe,
    add_lora,
    editor_for,
    find_weights,
    lora_of,
    read_recipe,
    write_recipe,
)

torch.set_num_threads(1)
CLIP = torch.randn(2, 4, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(str(write_wan(tmp_path_factory.mktemp("wan"))), device="cpu")


def written(folder, model, **changes):
    """Weights of LoRA that do something."""
    from safetensors.torch import save_file

    recipe = Recipe(model.name, rank=2, alpha=2.0, frames=5, **changes)
    other = load_model(model.name, device="cpu").transformer
    fit(other, recipe.way, recipe.positions, "copy")
    add_lora(other, recipe)
    torch.manual_seed(3)
    lora = {name: torch.randn_like(value) * 0.3 for name, value in lora_of(other).items()}
    folder.mkdir()
    save_file(lora, folder / LORA)
    save_file(
        {name: value.contiguous() for name, value in other.patch_embedding.new().items()}, folder / EMBEDDINGS
    )
    write_recipe(folder, recipe, {"training": {"steps": 1}})
    return folder


def edited(model, folder, text="a red cat", window=None, **more):
    params = easyv2v.Params(
        steps=2, guidance=more.pop("guidance", 3.0), weights=str(folder), **more.pop("params", {})
    )
    request = Request("", text, tuple(model.schedule.timesteps(2)), (4, 2, 2), 2, **more)
    prepared = easyv2v.prepare(model, request, params)
    *_, last = prepared.run(window or Window(CLIP, lambda index: CLIP))
    return last.latents["tgt"], prepared


@pytest.mark.parametrize("way", ["sequence", "added"])
def test_the_model_is_itself_again_after_an_edit(model, tmp_path, way):
    noisy, text = torch.randn(1, 4, 2, 2, 2), torch.randn(1, 32, 16)

    def plain():
        with torch.no_grad():
            return model.transformer(noisy, torch.tensor([300.0]), text, return_dict=False)[0]

    before, names = plain(), set(model.transformer.state_dict())
    made, _ = edited(model, written(tmp_path / "weights", model, way=way))
    assert made.shape == CLIP.shape and made.isfinite().all()
    assert torch.equal(plain(), before) and set(model.transformer.state_dict()) == names


def test_an_edit_depends_on_instruction_clip_mask_and_reference(model, tmp_path):
    folder = written(tmp_path / "weights", model)
    mask = Window(CLIP, lambda index: CLIP, mask_pixels=lambda: torch.zeros(5, 1, 16, 16))
    made = [
        edited(model, folder)[0],
        edited(model, folder, "a cat")[0],
        edited(model, folder, window=Window(2 * CLIP, lambda index: CLIP))[0],
        edited(model, folder, window=mask)[0],
        edited(model, folder, reference=torch.ones(3, 16, 16))[0],
    ]
    assert torch.equal(made[0], edited(model, folder)[0])
    # the mask's embedding begins at zero, and these weights leave it there
    assert [torch.allclose(made[0], other, atol=1e-4) for other in made[1:]] == [False, False, True, False]


def test_guidance_by_the_source_is_that_of_instruct_pix2pix(model, tmp_path):
    """v0 + g_s (v_s - v0) + g (v_ts - v_s), by hand at one level."""
    folder = written(tmp_path / "weights", model, drops_source=True)
    editor = editor_for(str(folder), model)
    said, none = (editor.encode(text) for text in ("a red cat", ""))
    noisy, weight, g_s = torch.randn(1, 2, 4, 2, 2), 3.0, 1.7
    with torch.no_grad(), editor.network() as network:
        network.given = given = editor.conditions(CLIP)
        seen, told = network.predict(noisy, 500.0, none), network.predict(noisy, 500.0, said)
        network.given = given._replace(source=0 * given.source)
        blind = network.predict(noisy, 500.0, none)
        network.given, network.blind, network.source_guidance = given, none, g_s
        both = network.predict(torch.cat([noisy, noisy]), 500.0, torch.cat([none, said]))
    expected = blind + g_s * (seen - blind) + weight * (told - seen)
    assert torch.allclose(both[:1] + weight * (both[1:] - both[:1]), expected, atol=1e-4)


def test_source_guidance_is_refused_for_weights_that_have_always_seen_one(model, tmp_path):
    folder = written(tmp_path / "weights", model)
    with pytest.raises(UsageError, match="have never learnt one"):
        edited(model, folder, params={"source_guidance": 2.0})


def test_evaluations_and_frames_beside_the_clip_are_counted(model, tmp_path):
    folder = written(tmp_path / "a", model, drops_source=True)
    assert edited(model, folder)[1].evaluations == 4 and edited(model, folder)[1].beside == 2
    assert edited(model, folder, guidance=1.0)[1].evaluations == 2
    assert edited(model, folder, params={"source_guidance": 2.0})[1].evaluations == 8
    added = edited(model, written(tmp_path / "b", model, way="added"), reference=torch.zeros(3, 16, 16))[1]
    assert added.beside == 1 and easyv2v.longest(model, easyv2v.Params(weights=str(folder))) == 5


def test_a_recipe_reads_as_it_was_written(tmp_path):
    recipe = Recipe("a/b", "abc", {"vae_sha256": "0"}, "added", "shared", 8, 4.0, blank_mask="skip", frames=9)
    write_recipe(tmp_path, recipe, {"training": {"steps": 3}})
    again = read_recipe(tmp_path)
    assert replace(again, targets=tuple(again.targets)) == recipe


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, "its format is 'other'"),
        ({"way": "sideways"}, "way"),
        ({"rank": -1}, "its rank is -1"),
        ({"frames": "many"}, "frames"),
    ],
)
def test_weights_with_a_wrong_config_are_refused(tmp_path, change, message):
    write_recipe(tmp_path, Recipe("a/b"), {})
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ModelError, match=message):
        read_recipe(tmp_path)


def test_weights_of_another_backbone_or_rank_are_refused(model, tmp_path):
    folder = written(tmp_path / "a", model, hashes={"transformer_sha256": "0" * 64})
    with pytest.raises(ModelError, match="trained on other weights"):
        editor_for(str(folder), model)
    other = written(tmp_path / "b", model)
    write_recipe(other, Recipe(model.name, rank=3, alpha=3.0, frames=5), {})
    with pytest.raises(ModelError, match="does not fit the backbone"):
        edited(model, other)
    noisy = torch.randn(1, 4, 2, 2, 2)
    with torch.no_grad():  # and the model is whole again after the refusal
        model.transformer(noisy, torch.tensor([300.0]), torch.randn(1, 32, 16))


def test_a_folder_without_weights_and_a_model_of_another_layout_are_refused(tmp_path):
    from tests.engine.tiny import TinyModel

    with pytest.raises(ModelError, match="these are not the weights of an instruction editor"):
        find_weights(str(tmp_path))
    with pytest.raises(ModelError, match="not one"):
        editor_for("", TinyModel())


def test_words_of_time_become_a_part_of_the_clip_and_are_not_shown_to_the_network(model, tmp_path):
    folder = str(written(tmp_path / "drawn", model, words=DRAWN))
    timed, plain = "make the circle blue from the middle on", "make the circle blue"
    params = easyv2v.Params(weights=folder)
    assert easyv2v.spoken(model, params, timed) == (Fraction(1, 2), 1)
    assert easyv2v.spoken(model, params, plain) is None
    assert torch.equal(edited(model, folder, timed)[0], edited(model, folder, plain)[0])
    free = str(written(tmp_path / "free", model))  # weights that read any words are told in words
    assert easyv2v.spoken(model, easyv2v.Params(weights=free), timed) is None


def test_an_instruction_about_a_picture_needs_one(model, tmp_path):
    folder = written(tmp_path / "drawn", model, words=DRAWN)
    with pytest.raises(UsageError, match="speaks of a picture, and none is given"):
        edited(model, folder, "make the circle like the picture")
    edited(model, folder, "make the circle like the picture", reference=torch.zeros(3, 16, 16))


def test_the_embedded_weights_are_refused_on_a_model_with_another_codec(model):
    with pytest.raises(ModelError, match=r"trained on other weights of shapes-video than .* \(vae_sha256\)"):
        editor_for("", model)


def test_words_of_drawn_scenes_are_checked_for_weights_that_know_no_others(model, tmp_path):
    folder = written(tmp_path / "weights", model, words=DRAWN)
    with pytest.raises(UsageError, match=r'does not know "cat"'):
        edited(model, folder, "make the cat blue")
