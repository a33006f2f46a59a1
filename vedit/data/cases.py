"""The frozen cases of the drawn-scene benchmark: a scene, one changed field, the exact answer.

`drawn-scenes.jsonl` holds 120 cases, 20 of each kind, and is what methods are reported on;
`drawn-scenes-tuning.jsonl` holds 60 other ones, and is what presets may be tuned on. The source
compositions of both are held out of training; no scene is in both. One line of JSON is one case.
"""

import json
import random
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from vedit.data import grammar
from vedit.data.instructions import instruction
from vedit.data.scenes import Scene, sample_records
from vedit.errors import InputError, UsageError

FOLDER = Path(__file__).resolve().parent.parent / "builtin" / "cases"
KINDS = ("colour", "shape", "texture", "ground", "pattern", "size")
VALUES = {**grammar.FIELDS, "shape": grammar.SHAPES}  # no digits
SEEDS = {"drawn-scenes": 8_000_001, "drawn-scenes-tuning": 8_000_002}
PER_KIND = {"drawn-scenes": 20, "drawn-scenes-tuning": 10}


@dataclass(frozen=True)
class Case:
    """One edit. kind: the changed field; value: what it becomes."""

    id: str
    kind: str
    value: str
    scene: Scene

    @cached_property
    def truth(self) -> Scene:
        """Return the scene of the right answer."""
        return self.scene.edited(**{self.kind: self.value})

    @property
    def source_prompt(self) -> str:
        return self.scene.caption

    @property
    def target_prompt(self) -> str:
        return self.truth.caption

    @property
    def instruction(self) -> str:
        """What to type for the edit, in one of its wordings, which goes by the case's name."""
        return instruction(self.scene.fields, self.kind, self.value, random.Random(self.id))

    def alternatives(self) -> dict[str, Scene]:
        """Return the scene once for each value of the changed field, the unchanged one included."""
        return {value: self.scene.edited(**{self.kind: value}) for value in VALUES[self.kind]}

    def to_json(self) -> str:
        prompts = {"source_prompt": self.source_prompt, "target_prompt": self.target_prompt}
        record = {
            "id": self.id,
            "kind": self.kind,
            "value": self.value,
            **prompts,
            "scene": asdict(self.scene),
        }
        return json.dumps(record)

    @classmethod
    def from_json(cls, line: str) -> "Case":
        record = json.loads(line)
        return cls(record["id"], record["kind"], record["value"], Scene.from_dict(record["scene"]))


def make_cases(name: str) -> list[Case]:
    """Draw the cases of a set from its seed; the answers go evenly through a field's values.

    A scene is passed over when the value is already its own, or when the object would leave the
    picture for one of the field's values.
    """
    per_kind = PER_KIND[name]
    pool: Iterator[Scene] = iter(sample_records(40 * per_kind * len(KINDS), SEEDS[name], held_out=True))
    cases = []
    for kind in KINDS:
        values = VALUES[kind]
        for number in range(per_kind):
            value = values[number % len(values)]
            scene = next(scene for scene in pool if getattr(scene, kind) != value and _has_room(scene, kind))
            cases.append(Case(f"{kind}-{number:02}", kind, value, scene))
    return cases


def _has_room(scene: Scene, kind: str) -> bool:
    try:
        return all(scene.edited(**{kind: value}) for value in VALUES[kind])
    except InputError:
        return False


def load_cases(name: str = "drawn-scenes") -> list[Case]:
    """Load a frozen set."""
    if name not in SEEDS:
        raise UsageError(f'there is no case set "{name}".', f"There are: {', '.join(SEEDS)}.")
    return [Case.from_json(line) for line in (FOLDER / f"{name}.jsonl").read_text().splitlines()]
