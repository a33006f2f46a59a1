"""What a plan refuses, the order of its rules, and how frames go through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from tests.engine.rules.site import ALWAYS, FINEST, predicted
from tests.engine.tiny import SIDE, TinyModel
from vedit.engine.controller import Controller
from vedit.engine.rules import BlendOut, Gather, KeyMask, LatentBlend, MapColumns, Plan, Probe, Replace, Rule
from vedit.engine.rules.rule import Call, Part, Tensors
from vedit.errors import ModelError, UsageError
from vedit.models.sites import Select


@pytest.fixture(scope="module")
def model() -> TinyModel:
    return TinyModel()


def bound(model: TinyModel, *rules: Rule, frames: int = 5) -> Controller:
    return Controller(model, Plan(rules), ["src", "tgt"], frames, (SIDE, SIDE), 20)


def value(steps: tuple[bool, ...] = ALWAYS, order: int | None = None, select: Select = FINEST) -> Replace:
    return Replace(select, "src", ("tgt",), steps, ("v",), "values", order=order)


def test_two_writers_of_one_tensor_need_an_order(model: TinyModel) -> None:
    with pytest.raises(UsageError, match=r"both write v of tgt at up_blocks\.3"):
        bound(model, value(), value())
    bound(model, value(order=0), value(order=1))
    bound(model, value((True, False)), value((False, True)))  # never in one step
    bound(model, value(), value(select=Select("self", ("up_blocks.3.attentions.1",))))  # nor at one place
    with pytest.raises(UsageError, match="both write latents of tgt at the step"):
        blend = LatentBlend("tgt", "src", lambda call: None, ALWAYS)  # type: ignore[arg-type,return-value]
        bound(model, blend, blend)


@dataclass(frozen=True)
class Odd(Rule):
    """A rule somebody wrote, with a place that may not exist."""

    stage: str = "qkv"  # type: ignore[assignment]
    tensor: str = "v"
    name: str = "odd"
    steps: ClassVar[tuple[bool, ...]] = ALWAYS
    select: ClassVar[Select] = FINEST

    @property
    def reads(self) -> frozenset[Part]:
        return frozenset()

    @property
    def writes(self) -> frozenset[Part]:
        return frozenset({(self.tensor, "tgt")})

    def apply(self, tensors: Tensors, call: Call) -> None:
        tensors[self.tensor, "tgt"] = tensors[self.tensor, "tgt"] * 2


def test_a_rule_without_a_known_place_is_an_error_and_never_skipped(model: TinyModel) -> None:
    with pytest.raises(UsageError, match="no stage 'softmax'"):
        bound(model, Odd(stage="softmax"))
    with pytest.raises(UsageError, match="no tensor maps"):
        bound(model, Odd(tensor="maps"))


def test_a_rule_for_tensors_that_its_sites_lack_is_an_error_and_never_skipped(model: TinyModel) -> None:
    with pytest.raises(ModelError, match="self sites of this model have no tensor k_pre"):
        bound(model, Replace(FINEST, "src", ("tgt",), ALWAYS, ("k_pre",)))
    with pytest.raises(ModelError, match="conv sites of this model have no tensor maps"):
        bound(model, MapColumns(Select("conv"), "src", "tgt", lambda source, target, step: target, ALWAYS))


def test_a_rule_that_the_controller_has_never_heard_of_acts(model: TinyModel) -> None:
    plain, doubled = predicted(model), predicted(model, Odd())
    assert float((doubled["tgt"] - plain["tgt"]).abs().max()) > 1e-4


def test_rules_come_in_the_order_of_their_stages(model: TinyModel) -> None:
    mask = KeyMask(FINEST, ("tgt",), None, ALWAYS)  # type: ignore[arg-type]
    maps = MapColumns(FINEST, "src", "tgt", lambda source, target, step: target, ALWAYS)
    out = BlendOut(FINEST, "src", "tgt", lambda call: None, ALWAYS)  # type: ignore[arg-type,return-value]
    latents = LatentBlend("tgt", "src", lambda call: None, ALWAYS)  # type: ignore[arg-type,return-value]
    probe = Probe(FINEST, "tgt", "x")
    plan = Plan((latents, out, maps, mask, value(order=1), value(order=0)), (probe,))
    ordered = plan.ordered
    assert ordered == [mask, value(order=0), value(order=1), maps, probe, out, latents]


def test_frames_go_through_as_the_widest_rule_needs(model: TinyModel) -> None:
    def passes(*rules: Rule, step: int = 0) -> list[Any]:
        return [(part.frames, part.is_key_pass) for part in bound(model, *rules).passes(step, 2)]

    chunks = [(slice(0, 2), False), (slice(2, 4), False), (slice(4, 5), False)]
    keyed = Gather(FINEST, ("tgt",), ("keyframes",), (True, False), chosen=lambda step: (1, 3))
    dense = Gather(Select("self", ("up_blocks.3.attentions.1",)), ("tgt",), ("all",), (False, True))
    assert passes(value()) == chunks
    assert passes(keyed, dense) == [([1, 3], True), ([0, 2], False), (slice(4, 5), False)]
    assert passes(keyed, dense, step=1) == [(slice(0, 5), False)]


def test_a_probe_counts_every_frame_once_when_keyframes_come_twice(model: TinyModel) -> None:
    import torch

    from tests.engine.rules.site import two
    from vedit.engine.sample import branch_names, predict

    streams = two(model, 3)
    keyed = Gather(Select("self"), ("tgt",), ("keyframes",), ALWAYS, chosen=lambda step: (0, 2))
    plan = Plan((keyed,), (Probe(Select("cross", scales=(4,)), "tgt", "maps"),))
    controller = Controller(model, plan, branch_names(streams), 3, (SIDE, SIDE), 20)
    with torch.inference_mode(), controller.installed():
        predict(model, streams, 501, 0, controller, 2)
    torch.testing.assert_close(controller.store.sums["maps"].sum(-1), torch.ones(3, 4))
    assert controller.held > 0
