"""What is of one family stands in its folder, and nowhere else."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT
from vedit.models.hub import warn_of_unused

FAMILY = re.compile(r"\bunet\b|block_out_channels|alphas_cumprod|\binput_ids\b|\.vae\b|\.text_encoder\b")
OWN = {  # of the embedded models: their training, packing, drawing and gates
    "jobs/shapes_model.py",
    "jobs/generate/shapes.py",
    "jobs/bench/model.py",
    "jobs/bench/motion.py",
    "jobs/train/shapes.py",
    "cli/models_pack.py",
}
PARTS = ("jobs", "cli", "engine", "methods", "stages", "media")
MODULES = sorted(path for part in PARTS for path in (ROOT / "vedit" / part).rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_outside_models_names_what_a_family_is_made_of(path) -> None:
    if path.relative_to(ROOT / "vedit").as_posix() not in OWN:
        assert FAMILY.findall(path.read_text(encoding="utf-8")) == []


def test_one_sampler_one_inversion_and_one_guidance() -> None:
    """A loop over timesteps that steps, and the formula of guidance, each stand once."""
    text = {path: path.read_text(encoding="utf-8") for path in (ROOT / "vedit").rglob("*.py")}
    steps = sorted(path.name for path, code in text.items() if re.search(r"(schedule|levels)\.step\(", code))
    assert steps == ["invert.py", "null_text.py", "sample.py"]
    formula = [
        path.name for path, code in text.items() if re.search(r"uncond \+ \w+ \* \(\w+ - uncond\)", code)
    ]
    assert formula == ["sample.py"]
    assert not any(".step(" in code and "prev_sample" in code for code in text.values())
    assert not any("set_timesteps(" in code for code in text.values())


def test_a_part_that_an_edit_leaves_out_is_told_with_those_that_it_takes() -> None:
    said = list[str]()
    index = {
        "_class_name": "WanPipeline",
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "T5TokenizerFast"],
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "upsampler": ["diffusers", "AutoencoderKL"],
    }
    warn_of_unused("m", index, said.append)
    assert said == ["m: its upsampler is not used: an edit takes transformer, vae, text_encoder"]


def test_every_part_looked_at_is_there() -> None:
    assert all(any(path.is_relative_to(ROOT / "vedit" / part) for path in MODULES) for part in PARTS)
