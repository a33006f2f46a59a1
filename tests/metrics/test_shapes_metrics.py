"""Protects vedit/metrics/shapes_*.py: the embedded scorer by the packed tokenizer and open_clip's own
normalisation, and on true edits.
"""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.metrics.clips import clip, values
from vedit.data import scenes, vocabulary
from vedit.jobs.draw_scene import scene_for
from vedit.metrics import _shapes_scorer as shapes_scorer
from vedit.metrics import shapes_edit_success, shapes_text_alignment
from vedit.metrics.base import Clip
from vedit.metrics.types import Options, Video
from vedit.models.shapes import parts

EDITS = [
    ("a red circle on a grey background", "a blue circle", "a blue circle on a grey background"),
    ("a green star on a black background", "a green square", "a green square on a black background"),
    (
        "a striped white ring on a teal background",
        "a dotted white ring",
        "a dotted white ring on a teal background",
    ),
]


def drawn(scene: scenes.Scene) -> np.ndarray:
    return (scenes.clip(scene, 2) * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()


def scored(edited: np.ndarray, source: np.ndarray, prompt: str, source_prompt: str) -> dict[str, float]:
    pair = clip(edited, source, prompt=prompt, source_prompt=source_prompt)
    return values(
        {
            **shapes_text_alignment.score(pair, None, Options()),
            **shapes_edit_success.score(pair, None, Options()),
        }
    )


@pytest.mark.parametrize("source_prompt, change, prompt", EDITS)
def test_a_true_edit_succeeds_and_the_unchanged_clip_does_not(
    source_prompt: str, change: str, prompt: str
) -> None:
    before, after = scene_for(source_prompt, 5, change)
    assert after is not None
    true, same = (scored(drawn(scene), drawn(before), prompt, source_prompt) for scene in (after, before))
    assert true["shapes_edit_success"] == 1 and same["shapes_edit_success"] == 0
    assert true["shapes_direction"] > 0.5 and same["shapes_direction"] == pytest.approx(0, abs=1e-6)
    assert true["shapes_text_alignment"] > same["shapes_text_alignment"]


def test_alignment_is_a_hundred_times_the_cosine_by_the_packed_tokenizer() -> None:
    from transformers import CLIPTokenizer

    before, _ = scene_for(EDITS[0][0], 1)
    frames, prompt = drawn(before), EDITS[0][0]
    tokenizer = CLIPTokenizer.from_pretrained(shapes_scorer.FILE.parent.parent / "tokenizer")
    ids = tokenizer([prompt], padding="max_length", max_length=24, return_tensors="pt").input_ids
    network = parts.scorer()
    network.load_state_dict(load_file(shapes_scorer.FILE))
    network.float().eval()
    with torch.inference_mode():
        text = network.encode_text(ids, normalize=True)
        image = network.encode_image(
            (torch.from_numpy(frames).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5, normalize=True
        )
    found = shapes_text_alignment.score(Clip("c", Video(frames), prompt=prompt), None, Options())[
        "shapes_text_alignment"
    ]
    assert found.per_frame == pytest.approx((100 * image @ text[0]).tolist(), abs=1e-3)


def test_larger_frames_are_brought_to_the_scorers_size() -> None:
    before, _ = scene_for(EDITS[0][0], 1)
    small = drawn(before)
    large = np.stack(
        [np.asarray(Image.fromarray(frame).resize((256, 256), Image.Resampling.BICUBIC)) for frame in small]
    )
    one, other = (
        shapes_text_alignment.score(Clip("c", Video(frames), prompt=EDITS[0][0]), None, Options())
        for frames in (small, large)
    )
    assert other["shapes_text_alignment"].value == pytest.approx(one["shapes_text_alignment"].value, abs=2)


def test_prompts_beyond_the_drawn_scenes_are_named_as_unreadable() -> None:
    assert (
        shapes_scorer.unreadable("a grey wolf")
        == 'the embedded scorer reads prompts of drawn scenes only (the drawn scenes do not know "wolf")'
    )
    assert shapes_scorer.unreadable("the small gray circle, moving left!") == ""
    assert "22 words" in shapes_scorer.unreadable("a " * 23 + "circle")
    assert shapes_text_alignment.unfit(
        Clip("c", Video(np.zeros((1, 4, 4, 3), np.uint8)), source_prompt="a wolf"), Options()
    )


def test_without_a_source_there_is_no_direction() -> None:
    before, _ = scene_for(EDITS[0][0], 1)
    found = shapes_edit_success.score(
        Clip("c", Video(drawn(before)), prompt=EDITS[0][2], source_prompt=EDITS[0][0]), None, Options()
    )
    assert list(found) == ["shapes_edit_success"]


@pytest.mark.parametrize("kind", ["noise", "black", "grey", "soft noise"])
def test_what_shows_no_scene_is_no_success(kind: str) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3)).astype(np.uint8)
    if kind in ("black", "grey"):
        frames[:] = 0 if kind == "black" else 128
    if kind == "soft noise":
        frames = np.stack(
            [
                np.asarray(Image.fromarray(f).resize((9, 9)).resize((64, 64), Image.Resampling.BICUBIC))
                for f in frames
            ]
        )
    for source_prompt, _, prompt in EDITS:
        clip_of_it = Clip("c", Video(frames), prompt=prompt, source_prompt=source_prompt)
        found = shapes_edit_success.score(clip_of_it, None, Options())["shapes_edit_success"]
        assert (
            found.value == 0
            and found.extra["unsure_frames"] == 4
            and "fit neither prompt" in found.extra["warning"]
        )


def test_the_towers_written_out_are_open_clips() -> None:
    network = parts.scorer()
    network.load_state_dict(load_file(shapes_scorer.FILE))
    network.float().eval()
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(3, 3, 64, 64, generator=generator) * 2 - 1
    ids = vocabulary.token_ids(
        ["a red circle on a grey background", "a small striped white ring moving left on a teal background"]
    )
    own = shapes_scorer._network()
    with torch.inference_mode():
        torch.testing.assert_close(
            own.encode_image(pictures), network.encode_image(pictures), rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(own.encode_text(ids), network.encode_text(ids), rtol=1e-4, atol=1e-5)


def test_scoring_a_drawn_scene_does_not_import_open_clip() -> None:
    code = """
import sys
import numpy as np
from vedit.metrics import shapes_edit_success
from vedit.metrics.base import Clip
from vedit.metrics.types import Options, Video
clip = Clip("c", Video(np.zeros((2, 64, 64, 3), np.uint8)), prompt="a red circle", source_prompt="a blue circle")
shapes_edit_success.score(clip, None, Options())
print(sorted({"open_clip", "torchvision", "timm", "transformers"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
