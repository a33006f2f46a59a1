"""LatentBlend and Embedding: rules before and behind the network's call."""

import torch

from tests.engine.rules.site import ALWAYS, predicted, two
from tests.engine.tiny import SIDE, TinyModel, latents
from vedit.engine.controller import Controller
from vedit.engine.rules import Embedding, LatentBlend, Plan
from vedit.engine.sample import Stream, branch_names, sample


def run(*rules: LatentBlend, steps: int = 4) -> list[dict[str, torch.Tensor]]:
    model = TinyModel()
    streams = two(model)
    controller = Controller(model, Plan(rules), branch_names(streams), 3, (SIDE, SIDE), 20)
    with controller.installed():
        timesteps = model.schedule.timesteps(steps)
        return [dict(step.latents) for step in sample(model, timesteps, streams, controller)]


def test_outside_the_mask_stands_another_stream_after_each_step() -> None:
    mask = torch.zeros(3, 1, SIDE, SIDE)
    mask[..., : SIDE // 2] = 1
    for step in run(LatentBlend("tgt", "src", mask, ALWAYS)):
        assert torch.equal(step["tgt"][..., SIDE // 2 :], step["src"][..., SIDE // 2 :])
        assert not torch.equal(step["tgt"][..., : SIDE // 2], step["src"][..., : SIDE // 2])


def test_a_source_by_index_is_asked_for_the_level_after_the_step() -> None:
    asked: list[int] = []

    def source(index: int) -> torch.Tensor:
        asked.append(index)
        return torch.full((3, 4, SIDE, SIDE), float(index), dtype=torch.float64)

    steps = run(LatentBlend("tgt", source, torch.zeros(3, 1, SIDE, SIDE), (False, True, False, True)))
    assert asked == [2, 4] and bool((steps[1]["tgt"] == 2).all()) and bool((steps[3]["tgt"] == 4).all())
    assert not bool((steps[0]["tgt"] == 1).any())


def test_a_full_mask_leaves_the_run_bit_for_bit() -> None:
    plain, blended = run(), run(LatentBlend("tgt", "src", torch.ones(3, 1, SIDE, SIDE), ALWAYS))
    assert all(torch.equal(one["tgt"], other["tgt"]) for one, other in zip(plain, blended, strict=True))


def test_an_embedding_by_step_equals_a_stream_with_that_text() -> None:
    model = TinyModel()
    other = model.encode_prompt("a blue mirror")
    by_rule = predicted(model, Embedding("tgt", lambda step: other, (True, False)))
    by_text = [
        Stream("src", latents(3, 1), model.encode_prompt("a cat")),
        Stream("tgt", latents(3, 2), other),
    ]
    from vedit.engine.sample import predict

    expected = predict(model, by_text, 501, 0, None, 8)
    assert torch.equal(by_rule["tgt"], expected["tgt"]) and torch.equal(by_rule["src"], expected["src"])
    later = predicted(model, Embedding("tgt", lambda step: other, (True, False)), step=1)
    assert torch.equal(later["tgt"], predicted(model)["tgt"])


def test_an_embedding_for_each_frame_goes_with_its_frame() -> None:
    model = TinyModel()
    each = torch.cat([model.encode_prompt(word) for word in ("a cat", "a dog", "a big cat")])
    by_frame = predicted(model, Embedding("tgt", lambda step: each, ALWAYS), frames_per_call=2)
    for frame in range(3):
        alone = predicted(model, Embedding("tgt", lambda step, frame=frame: each[frame : frame + 1], ALWAYS))
        torch.testing.assert_close(by_frame["tgt"][frame], alone["tgt"][frame], rtol=0, atol=1e-12)
