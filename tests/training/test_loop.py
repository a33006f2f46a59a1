"""Protects vedit/training/loop.py: exact resume, saved state without pickle, rates, refusals."""

import json
import multiprocessing
import random
import resource
import signal
import socket
from dataclasses import replace

import pytest
import torch

from tests.training.toy import OPTIONS, Toy, same, train_rank, train_until_killed, weights
from vedit.errors import CheckFailed, ModelError, OutputError, Stopped, UsageError
from vedit.training import loop
from vedit.training.loop import latest_state, seeded, state_of, train


@pytest.fixture(scope="module")
def processes():
    """Processes forked from one that has torch and nothing else."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.training.toy", "torch._dynamo", "accelerate"]
    )  # what the first step would load
    return context


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
    draws = {
        float(torch.rand(1, generator=seeded(*key))) for key in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    }
    assert len(draws) == 4


# --- states that survive ---


def test_a_run_killed_at_fifty_moments_of_saving_goes_on_from_a_whole_state_each_time(tmp_path, processes):
    options = replace(OPTIONS, steps=100_000, anneal=0, save_every=100_000, keep=2)
    rng, last, torn = random.Random(4), 0, 0
    for _ in range(50):
        child = processes.Process(
            target=train_until_killed, args=(str(tmp_path), options, rng.randint(1, 3000))
        )
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
        torn += bool(list(tmp_path.glob("state/*.tmp")))
        newest = latest_state(tmp_path)
        if newest is not None:
            run = loop.Run(Toy(), options, tmp_path)
            run.resume()
            assert run.step == int(newest.name.removeprefix("step-")) >= last
            last = run.step
    assert last > 10 and torn > 10  # the run came on, and many a save was cut off
    straight = loop.Run(Toy(), options, tmp_path / "straight")
    while straight.step < last:
        straight.advance()
    straight.save()
    for name in ("model", "ema", "optimizer"):
        assert same(weights(tmp_path, name), weights(tmp_path / "straight", name))


def test_a_full_disk_leaves_the_state_before_and_says_what_to_do(tmp_path):
    run = loop.Run(Toy(), OPTIONS, tmp_path)
    run.advance()
    run.save()
    run.advance()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(OutputError, match=r"step-000000002: the state cannot be saved: file too large"):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(file.name for file in (tmp_path / "state").iterdir()) == ["latest", "step-000000001"]
    fresh = loop.Run(Toy(), OPTIONS, tmp_path)
    fresh.resume()
    assert fresh.step == 1


def test_a_disk_that_was_full_on_the_way_does_not_end_the_training(tmp_path):
    said = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        reports = loop.train(
            Toy(), replace(OPTIONS, steps=4, save_every=1, log_every=1), tmp_path, warn=said.append
        )
        next(reports)
        assert any(
            "step-000000001: the state cannot be saved: file too large" in line and "goes on" in line
            for line in said
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(list(reports)) == 3 and loop.latest_state(tmp_path).name == "step-000000004"


def test_saving_twice_in_a_step_touches_nothing(tmp_path):
    run = loop.Run(Toy(), OPTIONS, tmp_path)
    run.advance()
    run.save()
    before = (latest_state(tmp_path) / "state.json").stat()
    run.save()
    assert (latest_state(tmp_path) / "state.json").stat() == before


def test_milestones_stay_beside_the_newest_states(tmp_path):
    list(train(Toy(), replace(OPTIONS, save_every=2, keep=2, milestone_every=8), tmp_path))
    assert sorted(path.name for path in tmp_path.glob("state/step-*")) == [
        f"step-{step:09d}" for step in (8, 16, 22, 24)
    ]


def test_the_newest_state_is_the_one_that_is_pointed_to_and_not_the_last_by_name(tmp_path):
    """The public base takes the last file name in string order, so step 900 goes before 1000."""
    run = loop.Run(Toy(), OPTIONS, tmp_path)
    for step in (9, 10, 900, 1000):
        run.step = step
        run.save()
        assert latest_state(tmp_path).name == f"step-{step:09d}"
    (tmp_path / "state" / "step-000009999").mkdir()  # of a kill between rename and pointer
    assert state_of(latest_state(tmp_path))["step"] == 1000


def test_a_damaged_state_is_named(tmp_path):
    list(train(Toy(), OPTIONS, tmp_path))
    (latest_state(tmp_path) / "ema.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"ema\.safetensors: the saved state cannot be read"):
        list(train(Toy(), replace(OPTIONS, steps=30), tmp_path))
    (latest_state(tmp_path) / "state.json").write_text("{")
    with pytest.raises(ModelError, match=r"state\.json: not a saved state: not JSON"):
        list(train(Toy(), replace(OPTIONS, steps=30), tmp_path))


def test_the_log_of_lost_work_and_a_torn_line_are_dropped_when_a_run_goes_on(tmp_path):
    run = loop.Run(Toy(), OPTIONS, tmp_path / "cut")
    for _ in range(12):
        run.advance()
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"step": 1')
    list(train(Toy(), OPTIONS, tmp_path / "cut"))
    list(train(Toy(), OPTIONS, tmp_path / "whole"))
    steps = [
        [json.loads(line)["step"] for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("cut", "whole")
    ]
    assert steps[0] == steps[1]


def test_a_state_of_before_an_option_existed_goes_on_with_its_default(tmp_path):
    run = loop.Run(Toy(), OPTIONS, tmp_path)
    run.advance()
    run.save()
    state = latest_state(tmp_path) / "state.json"
    old = state_of(latest_state(tmp_path))
    for name in ("accumulate", "ema_every", "ema_decay_min", "ema_power", "milestone_every", "precision"):
        del old["options"][name]
    for name in ("world", "scaler", "losses"):
        del old[name]
    state.write_text(json.dumps(old))
    loop.Run(Toy(), OPTIONS, tmp_path).resume()
    with pytest.raises(UsageError, match=r"options\.ema_every was 1, is 2"):
        loop.Run(Toy(), replace(OPTIONS, ema_every=2), tmp_path).resume()


# --- one step in parts ---


def largest_difference(a, b):
    return max(float((a[key] - b[key]).abs().max()) for key in a)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_batches_make_the_step_of_one_large_batch(tmp_path, parts):
    list(train(Toy(), OPTIONS, tmp_path / "one"))
    reports = list(train(Toy(share=parts), replace(OPTIONS, accumulate=parts), tmp_path / "parts"))
    assert largest_difference(weights(tmp_path / "one"), weights(tmp_path / "parts")) < 1e-5
    assert reports[-1].pictures == 24 * 8


def test_two_processes_make_the_steps_of_one(tmp_path, processes):
    list(train(Toy(), OPTIONS, tmp_path / "one"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [
        processes.Process(target=train_rank, args=(rank, 2, port, str(tmp_path / "two"), OPTIONS, 2))
        for rank in range(2)
    ]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join(120)
    assert [rank.exitcode for rank in ranks] == [0, 0]
    for name in ("model", "ema"):
        assert largest_difference(weights(tmp_path / "one", name), weights(tmp_path / "two", name)) < 1e-5
    assert state_of(latest_state(tmp_path / "two"))["world"] == 2
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two")
    ]
    assert [line["pictures"] for line in logs[0]] == [line["pictures"] for line in logs[1]]
    assert all(abs(a["losses"]["loss"] - b["losses"]["loss"]) < 1e-4 for a, b in zip(*logs))


def test_the_average_is_updated_every_so_many_steps(tmp_path):
    run = loop.Run(Toy(), replace(OPTIONS, ema_every=4, ema_decay_min=0.5), tmp_path)
    for _ in range(11):
        run.advance()
    assert run.ema.count == 2 and run.ema.decay(1) == 0.5


def test_half_precision_scales_the_loss_and_keeps_its_scale_in_the_state(tmp_path):
    options = replace(OPTIONS, precision="fp16")
    run = loop.Run(Toy(spoil=(3,)), options, tmp_path)
    for _ in range(4):
        run.advance()
    assert run.bad_steps == 1 and run.scaler.get_scale() == 2.0**15  # half of where it starts
    run.save()
    fresh = loop.Run(Toy(), options, tmp_path)
    fresh.resume()
    assert fresh.scaler.get_scale() == 2.0**15
    plain = loop.Run(Toy(), OPTIONS, tmp_path / "plain")
    scaled = loop.Run(Toy(), options, tmp_path / "scaled")
    for run in (plain, scaled):
        for _ in range(5):
            run.advance()
    a, b = plain.task.model.state_dict(), scaled.task.model.state_dict()
    assert largest_difference(a, b) < 1e-6


def test_what_a_step_takes_and_when_all_are_done_is_said_after_three(tmp_path):
    said = []
    list(train(Toy(), replace(OPTIONS, steps=5), tmp_path, say=said.append))
    assert len(said) == 1 and said[0].startswith("a step takes about ") and "2 are left" in said[0]
    assert loop.pace([72.0, 70.0, 90.0], 10000, 3, now=0).startswith(
        "a step takes about 72 s; 9997 are left: about 199.9 hours, done at "
    )
    assert loop.pace([0.5], 121, 1).split(": ")[1].startswith("about 60 s") and "no end" in loop.pace(
        [1.0], None, 3
    )


def test_a_step_is_given_up_when_a_stop_comes_in_its_middle_and_is_taken_again_to_the_same_bits(tmp_path):
    options = replace(OPTIONS, steps=4)
    run_to_the_end(tmp_path / "whole", options)
    asked = []

    class Slow(Toy):
        def losses(self, step):
            asked.append(step // options.accumulate == 1)  # Ctrl-C during the second step
            return super().losses(step)

    def stops():
        return bool(asked) and asked[-1]

    with pytest.raises(Stopped, match="stopped at step 1;"):
        list(train(Slow(), options, tmp_path / "cut", stops, give_up=stops))
    run_to_the_end(tmp_path / "cut", options)
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("step", "seven"), ("step", 1e400), ("options", []), ("config", None), ("seconds", {}), ("losses", [1])],
)
def test_a_state_of_wrong_types_is_refused_with_its_name(tmp_path, key, value):
    list(train(Toy(), OPTIONS, tmp_path))
    path = latest_state(tmp_path) / "state.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, key: value}))
    with pytest.raises(ModelError, match=r"(?s)state\.json: not a saved state.*go on from an older one"):
        state_of(path.parent)
    path.write_text("[" * 5000)
    with pytest.raises(ModelError, match="nested more than 32 deep"):
        state_of(path.parent)


def test_the_pointer_to_the_newest_state_names_a_folder_beside_it(tmp_path):
    list(train(Toy(), OPTIONS, tmp_path))
    for name in ("../../elsewhere", "/etc", "", "x" * 300):
        (tmp_path / "state" / "latest").write_text(name)
        with pytest.raises(ModelError, match="latest: not the name of a state"):
            latest_state(tmp_path)
