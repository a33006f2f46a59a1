"""Tune a model on a clip, for methods that edit with a network of the clip's own; kept for edits to come.

Tuned weights lie in the cache beside the inversions, or in an inversion (`--embed-tuning`). Tuning that
is stopped goes on from the last twentieth of its steps that was done.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vedit.jobs.clips import Pixels
from vedit.jobs.edit.unfinished import State, name_of
from vedit.jobs.watch import Watch, unwatched
from vedit.media.atomic import apart
from vedit.pixels import from_bytes

if TYPE_CHECKING:
    from torch import Tensor

    from vedit.engine.artefact import Artefact
    from vedit.models.family import Tunable

PREFIX = "tuned/"
SAVES = 20


def tuning_facts(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The identity of a tuning, from that of the inversion that needs it: all but what the inversion adds."""
    return {"kind": "tuning", **{key: facts[key] for key in ("model", "source", "prompt", "dtype", "tuning")}}


def tune_model(
    model: Tunable,
    pixels: Pixels,
    facts: Mapping[str, Any],
    *,
    frames_per_call: int = 8,
    given: Artefact | None = None,
    watch: Watch = unwatched,
) -> dict[str, Any]:
    """Put weights tuned on the clip into an inflated model; what it took.

    They are those of an inversion that is given, of the cache, or new ones. facts: of the inversion that
    the model is for.
    """
    from vedit.engine.artefact import Artefact, identity_key

    if given is not None and is_in(given):
        model.load_tuned(weights_in(given))
        return {"path": given.path, "seconds": 0.0}
    wanted = tuning_facts(facts)
    key = identity_key(wanted)
    path = kept_path(key)
    report: dict[str, Any] = {"key": key, "path": path}
    if not is_whole(path, key):
        report.update(_tune(model, pixels, wanted, path, frames_per_call, watch))
    model.load_tuned(weights_in(Artefact(path)))
    return report


def kept_path(key: str) -> str:
    from vedit.jobs import cache

    return os.path.join(cache.folder(), f"{key}-tuned.inv.safetensors")


def is_in(artefact: Artefact) -> bool:
    """Whether an artefact holds tuned weights."""
    return any(name.startswith(PREFIX) for name in artefact.names)


def weights_in(artefact: Artefact) -> dict[str, Tensor]:
    """The tuned weights of an artefact, by path."""
    return {
        name.removeprefix(PREFIX): artefact.read(name) for name in artefact.names if name.startswith(PREFIX)
    }


def is_whole(path: str, key: str) -> bool:
    """Whether a file of the cache holds the tuning of this key."""
    from vedit.engine.artefact import Artefact
    from vedit.errors import InputError

    try:
        artefact = Artefact(path)
        return artefact.key == key and is_in(artefact)
    except InputError:
        return False


def _tune(
    model: Tunable, pixels: Pixels, facts: dict[str, Any], path: str, frames_per_call: int, watch: Watch
) -> dict[str, Any]:
    """Tune and write the weights; the mean loss of the last tenth."""
    from vedit.engine.artefact import writing
    from vedit.engine.tune import Tuning, tune, weights_of

    tuning, inflation = Tuning(**facts["tuning"]), facts["model"]["inflation"]
    latents = model.encode_frames(from_bytes(pixels.frames_FYX3), frames_per_call)
    text = model.encode_prompt(facts["prompt"])
    losses: list[float] = []
    weights: dict[str, Tensor] = {name: weight.detach() for name, weight in model.tunable().items()}
    with State(name_of(facts, str(model.device))) as work:
        begun = work.read()
        done = int(begun["done"]) if begun else 0
        losses += begun["losses"] if begun else []

        def steps() -> Iterator[Any]:
            nonlocal weights
            yield from range(done)
            for step in tune(model, latents, text, tuning, inflation, done=done, state=work.tensors):
                losses.append(step.loss)
                if (step.index + 1) % max(1, tuning.steps // SAVES) == 0:
                    work.keep({"done": step.index + 1, "losses": losses}, step.state)
                if step.index + 1 == tuning.steps:
                    weights = weights_of(step.state)
                yield step

        if begun and done == tuning.steps:
            weights = weights_of(work.tensors or {})
        for _ in watch(steps(), tuning.steps, "tune"):
            pass
        weights = {name: weights[name] for name in model.tunable()}  # a state that was read has another order
        with apart():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with writing(
                path, {f"{PREFIX}{name}": tuple(weight.shape) for name, weight in weights.items()}, facts
            ) as writer:
                for name, weight in weights.items():
                    writer.write(f"{PREFIX}{name}", weight)
        work.finish()
    last = losses[-max(1, tuning.steps // 10) :]
    return {"steps": tuning.steps, "loss": round(sum(last) / len(last), 5)} if last else {"steps": 0}
