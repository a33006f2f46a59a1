"""Protects vedit/train/loop.py: exact resume, saved state without pickle, rates, refusals."""

import json
import random
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from vedit.errors import CheckFailed, Stopped, UsageError
from vedit.train import loop
from vedit.train.loop import Options, latest_state, seeded, train

OPTIONS = Options(rate=0.01, steps=24, anneal=6, warmup=4, log_every=5, save_every=7, measure_every=60, seed=3)


class Toy:
    """Fit a line to seeded noise: 8 pictures a step."""

    def __init__(self, width=2, spoil=()):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(width, 4), nn.SiLU(), nn.Linear(4, 1))
        self.config = {"width": width}
        self.width, self.spoil, self.measured = width, spoil, []

    def pictures(self, step):
        return 8

    def losses(self, step):
        x = torch.randn(8, self.width, generator=seeded(3, 0, step))
        loss = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
        return {"loss": loss * torch.nan if step in self.spoil else loss}

    def measure(self, model, step):
        self.measured.append(step)
        return {"score": step}


def weights(folder, name="model"):
    return load_file(latest_state(folder) / f"{name}.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def stop_after(count):
    steps = iter(range(count))
    return lambda: next(steps, None) is None


def run_to_the_end(folder, options=OPTIONS):
    return list(train(Toy(), options, folder))


def test_a_run_stopped_at_random_steps_ends_with_the_same_bits(tmp_path):
    run_to_the_end(tmp_path / "whole")
    rng, stops = random.Random(1), 0
    while True:
        try:
            list(train(Toy(), OPTIONS, tmp_path / "cut", stop_after(rng.randint(1, 9))))
            break
        except Stopped as stopped:
            assert stopped.exit_code == 75
            stops += 1
    assert stops >= 2
    for name in ("model", "ema", "optimizer"):
        assert same(weights(tmp_path / "whole", name), weights(tmp_path / "cut", name))


def test_a_run_killed_between_saves_repeats_the_lost_steps_exactly(tmp_path):
    run_to_the_end(tmp_path / "whole")
    run = loop.Run(Toy(), OPTIONS, tmp_path / "cut")
    for _ in range(10):  # saved at 7; the steps after it are lost with the process
        run.advance()
    run_to_the_end(tmp_path / "cut")
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_a_half_written_state_is_never_read(tmp_path):
    run = loop.Run(Toy(), OPTIONS, tmp_path)
    for _ in range(7):
        run.advance()
    torn = tmp_path / "state" / "step-000000014.tmp"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"torn")
    fresh = loop.Run(Toy(), OPTIONS, tmp_path)
    fresh.resume()
    assert fresh.step == 7


def test_the_state_is_safetensors_and_json_only(tmp_path):
    run_to_the_end(tmp_path)
    kinds = {file.suffix for file in latest_state(tmp_path).iterdir()}
    assert kinds == {".safetensors", ".json"}
    state = json.loads((latest_state(tmp_path) / "state.json").read_text())
    assert (state["step"], state["pictures"], state["ema_update_count"]) == (24, 192, 24)


def test_only_the_newest_states_are_kept(tmp_path):
    run_to_the_end(tmp_path, replace(OPTIONS, keep=2))
    assert len(list((tmp_path / "state").glob("step-*"))) == 2


def test_the_rate_warms_up_stays_and_anneals_to_zero_at_the_end():
    rates = [OPTIONS.rate_at(step) / OPTIONS.rate for step in range(24)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert rates[17:] == pytest.approx([1.0, 1.0, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6])


def test_an_open_ended_run_keeps_its_rate():
    options = replace(OPTIONS, steps=None, anneal=0)
    assert options.rate_at(1_000_000) == options.rate


def test_an_anneal_without_an_end_is_refused(tmp_path):
    with pytest.raises(UsageError, match="needs an end"):
        loop.Run(Toy(), replace(OPTIONS, steps=None), tmp_path)


def test_a_changed_setting_is_refused_by_name_and_a_later_end_is_not(tmp_path):
    run_to_the_end(tmp_path)
    with pytest.raises(UsageError, match=r"options\.rate was 0\.01, is 0\.02"):
        run_to_the_end(tmp_path, replace(OPTIONS, rate=0.02))
    with pytest.raises(UsageError, match=r"config\.width was 2, is 3"):
        list(train(Toy(width=3), OPTIONS, tmp_path))
    assert list(train(Toy(), replace(OPTIONS, steps=26), tmp_path))[-1].step == 26


def test_the_log_has_means_between_lines_and_measures_by_pictures(tmp_path):
    reports = run_to_the_end(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [report.step for report in reports]
    assert [line["step"] for line in lines if line["measured"]] == [8, 16, 24]
    assert lines[0]["pictures"] == 40


def test_a_step_without_a_finite_gradient_is_skipped_and_counted(tmp_path):
    before = {k: v.clone() for k, v in Toy().model.state_dict().items()}
    run = loop.Run(Toy(spoil=(0,)), OPTIONS, tmp_path)
    run.advance()
    assert run.bad_steps == 1 and same(run.task.model.state_dict(), before)
    run.advance()
    assert run.bad_steps == 0 and not same(run.task.model.state_dict(), before)


def test_twenty_bad_steps_in_a_row_end_the_run(tmp_path):
    with pytest.raises(CheckFailed, match="20 steps in a row"):
        list(train(Toy(spoil=range(100)), OPTIONS, tmp_path))


def test_streams_of_randomness_differ_by_seed_stream_and_step():
    draws = {float(torch.rand(1, generator=seeded(*key))) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]}
    assert len(draws) == 4
