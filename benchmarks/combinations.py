"""GLP with each method that injects attention, on the drawn-scene benchmark.

    python benchmarks/combinations.py --journal FILE [--limit N] [--frames N] [--cases NAME] [--only A,B]

glp+METHOD is `combine` in its sequential form: GLP, its result inverted to step 17 of 25, and METHOD from
there, each with the settings of its preset for the embedded model. glp(METHOD) is the in-loop form. GLP's
result is made once for a case. Each score is kept as it comes, and a second call goes on; `scenes_table.py`
puts the journal beside those of `vedit bench scenes`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from vedit.data.cases import SEEDS
from vedit.engine.sample import Step
from vedit.jobs.bench.journal import Journal
from vedit.jobs.bench.scenes import Contender, run_scenes, summary, table_text
from vedit.jobs.edit.settings import method_params
from vedit.methods import combine, glp
from vedit.methods.base import Prepared, Window
from vedit.models.load import load_model

START = 17  # of 25, as in best-shapes


def contenders(only: list[str]) -> dict[str, Contender]:
    """The rows by their names."""

    def table(method: str) -> dict[str, Any]:
        values = method_params(method, None, {}, "shapes")
        return {key: value for key, value in values.items() if method == "glp" or key not in combine.OWN}

    def row(form: str, forward: str) -> Contender:
        shared = {"steps": 25, "guidance": 4.0, "fixed_point": 1, "form": form, "forward": forward}
        own = table(forward)
        if form == "in-loop":
            own = {key: value for key, value in own.items() if "blend" not in key}  # which needs sampling
        return Contender("combine", {**shared, "start_index": START, "glp": table("glp"), forward: own})

    rows = {f"glp+{name}": row("sequential", name) for name in combine.FORWARD}
    rows |= {f"glp({name})": row("in-loop", name) for name in combine.IN_LOOP}
    return {name: made for name, made in rows.items() if not only or name in only}


def remembering(prepare: Callable[..., Prepared]) -> Callable[..., Prepared]:
    """GLP that keeps the last step it made, and gives it where it is asked for the same again."""
    kept: dict[str, Step] = {}

    def prepared(model: Any, request: Any, params: Any, *rules: Any, **more: Any) -> Prepared:
        made = prepare(model, request, params, *rules, **more)
        asked = f"{request.source_prompt}|{request.target_prompt}|{request.frames}|{params.model_dump_json()}"

        def run(window: Window) -> Iterator[Step]:
            key = f"{asked}|{float(window.latents_FCYX.double().sum())!r}"
            if key not in kept:
                kept.clear()
                *_, kept[key] = made.run(window)
            yield kept[key]

        return made if rules or more else replace(made, run=run, total=1)

    return prepared


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--journal", required=True, help="where scores are kept")
    parser.add_argument("--limit", type=int, help="cases of each kind")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--cases", default="drawn-scenes", choices=list(SEEDS))
    parser.add_argument("--only", default="", help="rows, such as glp+p2p,glp(pnp)")
    asked = parser.parse_args()
    glp.prepare = remembering(glp.prepare)  # type: ignore[assignment]
    scores = run_scenes(
        load_model("shapes"),
        contenders([name for name in asked.only.split(",") if name]),
        cases=asked.cases,
        limit=asked.limit,
        frames=asked.frames,
        journal=Journal(asked.journal),
    )
    print(table_text(summary(scores), markdown=True))


if __name__ == "__main__":
    main()
