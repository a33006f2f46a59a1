"""Time edits against bare evaluations of their network, and measure what they hold in memory.

    python benchmarks/edit.py [--only PART] [--methods A,B] [--rounds N] [--append]

Parts: embedded, sd15 (time of every method with random weights, at the size of the embedded model and of
Stable Diffusion 1.5), maps (memory of Prompt-to-Prompt at 512x512 in half precision), windows (peak memory of
clips of 8 and of 64 frames).

time: a method is a generator of steps. Before each step the calls of the network are recorded by a hook;
after it the same calls, batch for batch, are made on the bare network with its stock attention (of
vid2vid-zero and fatezero, whose frames see others, with theirs, written out). What counts is CPU time of
this process, one thread, so that a busy machine is as busy for both; the ratio is of the sums over all steps
and rounds, with everything a method does in it except reading, decoding and writing the clip.
maps: one network call of three branches and eight frames with and without the rules, on tensors without
contents: sizes, lifetimes and dtypes are those of a real run; what a GPU's allocator rounds and its kernels
borrow is not in it.
windows: `vedit edit` itself in a fresh process, as much resident memory as it held at its peak less what it
held with the model loaded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT)]
from vedit.models.sd.network import UNetNetwork  # noqa: E402

CLIPS = ROOT.parent / "shared" / "data" / "clips"
SOURCE, TARGET = "a red circle on a grey background", "a blue circle on a grey background"
RATIO_GOAL, MAPS_GOAL_MIB, GROWTH_GOAL = 1.15, 8.0, 1.10
MAPS = {
    "blend_words": ["circle"],
    "equalizer": {"blue": 2.0},
}  # a local blend and a re-weighting: what costs most
CHANGES: dict[str, dict[str, Any]] = {  # to the presets
    "ddim": {},
    "sdedit": {"strength": 1.0},
    "p2p": MAPS,
    "pnp": {"inversion_steps": None},
    "dds": {},
    "glp": {},
    "tokenflow": {"inversion_steps": None},
    "fatezero": {},
    "vid2vid-zero": {},
    "masactrl": {"start_index": 4},
    "rave": {"inversion_steps": None, "grid": 2},
    "vidtome": {"inversion_steps": None},
    "flatten": {"inversion_steps": None},
    "fresco": {"strength": 1.0},
    "video-p2p": {**MAPS, "inner_steps": 0, "source_branch": "replay"},
    "edit-a-video": MAPS,
    "combine": {"inversion_steps": None, "start_index": 0, "glp": {"iterations": 2}},
}
SD15 = {
    "block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 768, "attention_head_dim": 8,
    "sample_size": 64,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip


@dataclass
class RandomModel(UNetNetwork):
    """What methods are given, with random weights and random text embeddings."""

    unet: Any
    tokenizer: Any
    schedule: Any
    device: Any
    dtype: Any
    name: str = "random"
    texts: dict[str, Any] = field(default_factory=dict)

    def encode_prompt(self, prompt: str) -> Any:
        import torch

        if prompt not in self.texts:
            generator = torch.Generator().manual_seed(len(self.texts))
            shape = (1, self.tokenizer.model_max_length, self.unet.config.cross_attention_dim)
            self.texts[prompt] = torch.randn(shape, generator=generator).to(self.device)
        return self.texts[prompt]


def random_model(size: str) -> RandomModel:
    """size: "embedded" or "sd15"."""
    import torch
    from diffusers import UNet2DConditionModel

    from vedit.models.alpha_bar import read_schedule
    from vedit.models.hub import BUILTIN, EMBEDDED

    folder = BUILTIN / EMBEDDED
    torch.manual_seed(0)
    config = UNet2DConditionModel.load_config(str(folder / "unet")) if size == "embedded" else SD15
    unet = UNet2DConditionModel.from_config(config).eval().requires_grad_(False)
    with torch.no_grad():
        unet.conv_out.weight *= 0.1  # latents stay of unit size over many steps
    schedule = read_schedule(json.loads((folder / "scheduler" / "scheduler_config.json").read_text()))
    return RandomModel(unet, tokenizer(size), schedule, torch.device("cpu"), torch.float32)


def tokenizer(size: str) -> Any:
    """The embedded model's words, in prompts of its own length or of Stable Diffusion's."""
    from transformers import CLIPTokenizer

    from vedit.models.hub import BUILTIN, EMBEDDED

    own = CLIPTokenizer.from_pretrained(str(BUILTIN / EMBEDDED / "tokenizer"))
    own.model_max_length = 77 if size == "sd15" else own.model_max_length
    return own


def recorded_calls(unet: Any, calls: list[tuple[Any, Any, Any]]) -> Any:
    """Keep what the network is called with."""
    return unet.register_forward_pre_hook(
        lambda module, args, kwargs: calls.append((args[0], args[1], kwargs["encoder_hidden_states"])),
        with_kwargs=True,
    )


def method_run(model: RandomModel, size: str, method: str, frames: int, side: int, steps: int) -> Any:
    """Start a method on a random clip, with the settings of its preset but for CHANGES."""
    import torch

    from vedit import methods
    from vedit.methods.base import Request, Window
    from vedit.methods.params import read_params
    from vedit.presets import load_method

    module = methods.load(method)
    length = {"iterations": steps} if "iterations" in module.Params.model_fields else {"steps": steps}
    params = read_params(
        module.Params,
        {
            **load_method(method, f"{method}-shapes" if size == "embedded" else method),
            **CHANGES[method],
            **length,
        },
        method,
    )
    latents = torch.randn(
        frames, model.unet.config.in_channels, side, side, generator=torch.Generator().manual_seed(1)
    )
    timesteps = tuple(model.schedule.timesteps(steps))
    request = Request(SOURCE, TARGET, timesteps, tuple(latents.shape[1:]), frames, frames_per_call=frames)
    return module.prepare(model, request, params).run(Window(latents, lambda index: latents))


def is_tuned(method: str) -> bool:
    """Whether a method runs on a network that is inflated and tuned; here with its layers as they start."""
    from vedit import methods
    from vedit.methods.video_p2p import TuneFields

    return issubclass(methods.load(method).Params, TuneFields)


class OtherFrames:
    """Self-attention to keys and values of other frames, as their methods' authors wrote it: gathered, fused.

    frames: of a clip; the rows of a call are clips of that many. whole: see all of them, else the first
    and the one before.
    """

    def __init__(self, frames: int, whole: bool) -> None:
        self.frames, self.whole = frames, whole

    def __call__(self, attn: Any, hidden_states: Any, *_: Any, **__: Any) -> Any:
        import torch
        from torch.nn.functional import scaled_dot_product_attention

        def heads(states: Any) -> Any:
            return states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

        def seen(states: Any) -> Any:
            clips = states.unflatten(0, (-1, self.frames))
            if self.whole:
                return clips.flatten(1, 2).repeat_interleave(self.frames, 0)
            before = [max(frame - 1, 0) for frame in range(self.frames)]
            first = clips[:, [0] * self.frames]
            return torch.cat([first, clips[:, before]], dim=2).flatten(0, 1)

        query, key, value = (layer(hidden_states) for layer in (attn.to_q, attn.to_k, attn.to_v))
        out = scaled_dot_product_attention(heads(query), heads(seen(key)), heads(seen(value)))
        return attn.to_out[0](out.transpose(1, 2).flatten(2))


def published_attention(unet: Any, method: str, frames: int) -> dict[str, OtherFrames]:
    """What the self-attention of a method is without its engine, by layers; none where it is the stock's."""
    layers = [name for name, _ in unet.named_modules() if name.endswith("attn1")]
    if method == "vid2vid-zero":
        return {name: OtherFrames(frames, ".attentions.0." in name) for name in layers}
    return {name: OtherFrames(frames, False) for name in layers} if method == "fatezero" else {}


def time_run(
    model: RandomModel, running: Iterator[Any], attention: dict[str, OtherFrames] | None = None
) -> tuple[float, float, int]:
    """CPU seconds of a method's steps and of their network calls alone, and the evaluations."""
    import torch

    edit_s, bare_s, evaluations = 0.0, 0.0, 0
    step: Any = True
    while step is not None:
        calls: list[tuple[Any, Any, Any]] = []
        hook = recorded_calls(model.unet, calls)
        begin = time.process_time()
        step = next(running, None)
        edit_s += time.process_time() - begin
        hook.remove()
        with stock_attention(model.unet), torch.inference_mode():
            for name, processor in (attention or {}).items():
                model.unet.get_submodule(name).processor = processor
            begin = time.process_time()
            for batch, timestep, text in calls:
                model.unet(batch, timestep, encoder_hidden_states=text)
            bare_s += time.process_time() - begin
        evaluations += sum(len(batch) for batch, _, _ in calls)
    return edit_s, bare_s, evaluations


@contextlib.contextmanager
def stock_attention(unet: Any) -> Iterator[None]:
    """The network as diffusers made it, while a method that controls it waits between two steps."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    kept: dict[Any, tuple[Any, Any]] = {}
    for module in unet.modules():
        if hasattr(module, "processor"):
            kept[module] = (module.processor, None)
            module.processor = AttnProcessor2_0()
        elif module._forward_hooks:
            kept[module] = (None, dict(module._forward_hooks))
            module._forward_hooks.clear()
    try:
        yield
    finally:
        for module, (processor, hooks) in kept.items():
            if processor is not None:
                module.processor = processor
            if hooks is not None:
                module._forward_hooks.update(hooks)


def report_time(size: str, rounds: int, names: list[str]) -> Iterator[str]:
    frames, side, steps = (8, 16, 10) if size == "embedded" else (2, 8, 2)
    model = random_model(size)
    pixels = side * (4 if size == "embedded" else 8)
    yield (
        f"\n{size}: {frames} frames, latents {side}x{side} ({pixels}x{pixels} pixels), {steps} steps or"
        f" iterations, {rounds} rounds, float32, one thread\n"
    )
    yield "| method | evaluations | edit, CPU s | bare network, CPU s | ratio (goal 1.15) |"
    yield "| --- | --- | --- | --- | --- |"
    time_run(model, method_run(model, size, "ddim", frames, side, 1))  # warm
    for method in names:
        own = model.inflated() if is_tuned(method) else model
        attention = published_attention(own.unet, method, frames)
        taken = [
            time_run(own, method_run(own, size, method, frames, side, steps), attention)
            for _ in range(rounds)
        ]
        edit_s, bare_s = (sum(one[place] for one in taken) for place in (0, 1))
        yield (
            f"| {method} | {taken[0][2]} | {edit_s / rounds:.3f} | {bare_s / rounds:.3f} |"
            f" {edit_s / bare_s:.3f}: {verdict(edit_s / bare_s <= RATIO_GOAL)} |"
        )


def verdict(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


def report_tokenflow(rounds: int) -> Iterator[str]:
    """Ours against the published loop on one network and clip, in turns."""
    yield f"\ntokenflow: embedded layout, 16 frames, a step, one keyframe in 8, {rounds} rounds in turns\n"
    yield "| latents | ours, CPU s | published loop, CPU s | published over ours (goal 1.5) |"
    yield "| --- | --- | --- | --- |"
    for side in (32, 64):
        ours, loop = tokenflow_seconds(side, rounds)
        ratio = loop / ours
        yield (
            f"| {side}x{side} | {ours / rounds:.2f} | {loop / rounds:.2f} |"
            f" {ratio:.2f}: {verdict(ratio >= 1.5)} |"
        )


def tokenflow_seconds(side: int, rounds: int) -> tuple[float, float]:
    """CPU seconds of ours and of the published loop, on latents of a side."""
    import torch

    from benchmarks.tokenflow_loop import published
    from vedit import methods
    from vedit.methods.base import Request, Window
    from vedit.methods.params import read_params
    from vedit.methods.tokenflow import KeyFrames

    frames, steps, module = 16, 1, methods.load("tokenflow")
    model = random_model("embedded")
    shape = (frames, model.unet.config.in_channels, side, side)
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    timesteps = tuple(model.schedule.timesteps(steps))
    levels = [(model.schedule.level(t), model.schedule.after(timesteps, i)) for i, t in enumerate(timesteps)]
    texts = [model.encode_prompt(prompt) for prompt in (SOURCE, "", TARGET)]
    table = {"steps": steps, "feature_until": 1.0, "attention_until": 0.0}
    attention = [f"up_blocks.{block}.attentions.*" for block in (1, 2, 3)]
    params = read_params(module.Params, {**table, "attention_layers": attention}, "tokenflow")
    request = Request(SOURCE, TARGET, timesteps, tuple(latents.shape[1:]), frames, frames_per_call=8)
    keys = KeyFrames(frames, 8, 16).chosen
    taken = [0.0, 0.0]

    def ours() -> None:
        for _step in module.prepare(model, request, params).run(Window(latents, lambda index: latents)):
            pass

    def loop() -> None:
        settings = {"feature_steps": steps, "attention_steps": 0}
        published(model.unet, lambda index: latents, timesteps, levels, texts, keys, **settings)

    for _ in range(rounds):
        for place, run in enumerate((ours, loop)):
            begin = time.process_time()
            run()
            taken[place] += time.process_time() - begin
    return taken[0], taken[1]


def report_maps() -> Iterator[str]:
    """What lives at once in a call of Prompt-to-Prompt with a local blend, less what lives in the same call
    without rules.
    """
    import torch
    from diffusers import UNet2DConditionModel

    from vedit import methods
    from vedit.engine.memory import network_peak
    from vedit.engine.rules import Plan
    from vedit.methods.base import Request
    from vedit.methods.params import read_params
    from vedit.methods.sampled import bound

    frames, side = 8, 64
    module = methods.load("p2p")
    with torch.device("meta"):
        unet = UNet2DConditionModel.from_config(SD15).half().eval()
    model = RandomModel(
        unet, tokenizer("sd15"), random_model("embedded").schedule, torch.device("cpu"), torch.float16
    )
    request = Request(
        SOURCE, TARGET, tuple(model.schedule.timesteps(50)), (4, side, side), frames, frames_per_call=frames
    )
    outline = module.prepare(model, request, read_params(module.Params, MAPS, "p2p"))
    kept = bound(model, request, outline.plan, outline.branches, frames).store.predicted_bytes()
    plain, ruled = (
        network_peak(model, plan, outline.branches, frames, (side, side)) for plan in (Plan(), outline.plan)
    )
    above = (ruled + kept - plain) / frames / 2**20
    yield (
        f"\nmaps: {frames} frames, 512x512, half precision, Stable Diffusion 1.5, three branches; bytes alive"
        " at once in a call, from shapes\n"
    )
    yield "| what | MiB |"
    yield "| --- | --- |"
    yield f"| peak of the call without rules | {plain / 2**20:.1f} |"
    yield f"| peak of the call with p2p and a local blend | {ruled / 2**20:.1f} |"
    yield f"| kept from step to step (sums of maps) | {kept / 2**20:.2f} |"
    yield (
        f"| above plain sampling, per frame (goal {MAPS_GOAL_MIB:g}) | {above:.2f}:"
        f" {verdict(above <= MAPS_GOAL_MIB)} |"
    )


# Loads the model, runs one edit, and prints resident memory with the model loaded and at the peak, in MiB.
MEASURE = """
import json, sys
sys.path[:0] = [sys.argv[1]]
import torch
torch.set_num_threads(1)
from vedit.jobs.edit.plan import plan
from vedit.jobs.edit.request import EditRequest
from vedit.models.sd.load import load_model
def status(field):
    return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith(field))
clip, frames, method, output, window, more = sys.argv[2:]
model = load_model("shapes", device="cpu")
def run(count):
    few = {"iterations": 4} if method in ("dds", "glp") else {"steps": 2}
    plan(EditRequest(input=clip, output=output, method=method, source_prompt="a red circle",
        prompt="a blue circle", frames=count, size=128, set={**few, **json.loads(more)},
        window=int(window) or None, metadata=False, overwrite=True,
    )).run(model=model)
run(1)  # what is imported and allocated once
before = status("VmRSS")
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
run(int(frames))
print(before, status("VmHWM"))
"""


WINDOWED: dict[str, tuple[int, int, dict[str, Any]]] = {  # fewer frames, those of a window, settings
    **dict.fromkeys(("p2p", "pnp", "sdedit", "glp"), (8, 8, {})),
    "tokenflow": (16, 0, {}),  # it takes the clip as one
    "flatten": (
        16,
        16,
        {"sees": "none"},
    ),  # frames that all see each other cannot be cut apart
    "fresco": (16, 16, {"iterations": 2}),
}


def report_windows(methods: Sequence[str]) -> Iterator[str]:
    yield (
        "\nwindows: the embedded model, 128x128, windows of 8 frames (16 of flatten and fresco); resident"
        " memory above that with the model loaded and one frame edited\n"
    )
    yield "| method | frames | MiB | 64 frames, MiB | whole process, 64 over the fewer (goal 1.10) |"
    yield "| --- | --- | --- | --- | --- |"
    for method in methods:
        few, window, more = WINDOWED[method]
        peaks = {}
        for frames in (few, 64):
            with tempfile.TemporaryDirectory() as folder:
                command = [
                    sys.executable,
                    "-c",
                    MEASURE,
                    str(ROOT),
                    str(CLIPS / "woman-running.mp4"),
                    str(frames),
                    method,
                    f"{folder}/out.mp4",
                    str(window),
                    json.dumps(more),
                ]
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    check=True,
                    env={**os.environ, "VEDIT_CACHE_DIR": folder, "OMP_NUM_THREADS": "1"},
                )
                peaks[frames] = [float(word) for word in done.stdout.split()]
        growth = peaks[64][1] / peaks[few][1]
        yield (
            f"| {method} | {few} | {peaks[few][1] - peaks[few][0]:.0f} | {peaks[64][1] - peaks[64][0]:.0f} |"
            f" {growth:.3f}: {verdict(growth <= GROWTH_GOAL)} |"
        )


def chosen(asked: argparse.Namespace) -> list[str]:
    return asked.methods.split(",") if asked.methods else list(CHANGES)


PARTS = {
    "embedded": lambda asked: report_time("embedded", asked.rounds, chosen(asked)),
    "sd15": lambda asked: report_time("sd15", asked.rounds, chosen(asked)),
    "tokenflow": lambda asked: report_tokenflow(asked.rounds),
    "maps": lambda _: report_maps(),
    "windows": lambda asked: report_windows(asked.methods.split(",") if asked.methods else list(WINDOWED)),
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="this part; may be given several times"
    )
    parser.add_argument("--methods", help="whose time is taken, instead of all")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each method")
    parser.add_argument("--append", action="store_true", help="add what is printed to benchmarks/README.md")
    options = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    lines: list[str] = []
    for part in options.only or PARTS:
        for line in PARTS[part](options):
            print(line, flush=True)
            lines.append(line)
    if options.append:
        with (HERE / "README.md").open("a") as page:
            page.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
