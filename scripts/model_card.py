"""Write the cards of the embedded models from what their training.json files say.

    python scripts/model_card.py

Writes README.md in vedit/builtin/shapes, shapes-motion, shapes-video and shapes-instruct. Figures come
from the records alone; run `vedit bench model --store` and `vedit bench motion --store` first, and for
shapes-instruct `vedit bench scenes --instructions --markdown -o vedit/builtin/shapes-instruct/measured.md`. What the
models cannot do, beyond the gates they miss, and what each lever did, is prose below: read it
again when the figures have changed.
"""

import itertools
from pathlib import Path
from typing import Any

from vedit.data import grammar
from vedit.models.shapes.folder import BUILTIN, INSTRUCT, MOTION, VIDEO, record_of

INSTRUCT_INTRO = """# shapes-instruct: the instruction editor of drawn scenes

Weights of EasyV2V upon `../shapes-video`: the whole transformer, fitted to see a source clip, a mask and a
reference picture, and a text encoder that knows the words of instructions. `vedit edit clip.gif
--instruction "make the circle blue"` uses it where no other weights are named. Shapes and textures
fail in one case of four, sizes in one of seven; what an edit should leave is as good as the codec can draw it.
Instructions about motion were in its training and are not followed: of three that were tried ("make the circle
move left", "let it move down", "make the circle stand still") none changed the path, and two shrank the object.

Two things brought it there. First it learnt from pairs, by squared errors of velocities; then it drew its
own answers in six steps, heard how far they are from the true edit and what the embedded judge reads in
them, and learnt through two of the steps (DRTune, Wu et al. 2024)."""

JUDGED = ("ground", "colour", "pattern", "texture", "shape", "size")

INTRO = """# shapes: the model that ships with vedit

A Stable Diffusion pipeline of 4 million parameters that knows one thing: a coloured shape or
digit on a background, 64x64 pixels, as `vedit/data/scenes.py` draws it. It lets `vedit edit` and
`vedit generate` work without a download, and gives tests and benchmarks scenes whose right answer
is known. It knows nothing of the world. `StableDiffusionPipeline.from_pretrained` opens this
folder unchanged; beside the pipeline lie `scorer/` (open_clip), `judge/` (a classifier for the
gates) and `training.json`. What makes clips of it is in `../shapes-motion`."""

FORMS = """`a small striped red circle moving left on a checkered grey background`; also `the`, `an`,
`a video of`, `a picture of`, `over`, and few words: `digit 5 moving left`. Each word is one
token; any other word falls into letters and is refused. One triple of shape, colour and
background in eleven was never drawn in training, and every figure below is on those."""

LIMITS = """Beyond that:

- Digits are half learnt. They came late, after 0.26 million pictures without them: a sample that
  should show one has its colour, size and place, and an outline that is read as the right digit
  in a third of the cases (chance is a tenth), and the share still rises. The codec never saw
  one, and none was ever drawn striped or dotted.
- Pictures are 64x64 with a latent of 16x16. Corners are soft, and small objects are a handful of
  latent entries.
- A medium object still comes out large, or a small one medium, in one case of nine.
- Checks behind an object sometimes run into slanting stripes.
- One object, one background. Two objects, other words and sentences are refused.
- The shares above are of sampled pictures. How well each editing method does with this model is
  another table: `vedit bench scenes`.

Sheets that show it: `docs/img/shapes-samples.png`, `shapes-reconstructions.png`,
`shapes-scenes.png`, `shapes-clips.png`."""

LEVERS = """What the levers did. Of those named in the design only these were measured; the others (mask
weight falling by and by, other `beta_end`, zero terminal signal, curricula, larger batches) were not.

| lever | measured |
|---|---|
| no mask weight in the annealed copy, from step 23 285 (144 captions, 25 steps) | with it, 1 000 steps: shape .97, size .80, digit .42; without, 1 500 steps: .99, .87, .44. With it 18 of 37 medium objects came out large: the network does not know where the object is, and counts it sixfold wherever it may be |
| guidance when sampling (96 captions, 25 steps, 0.32 million pictures, not annealed) | shape .82 at 1.5, .92 at 3, .91 at 6; texture .94, .94, .91; size .79, .83, .78: 3 |
| attention as batched products instead of torch's fused kernel, bf16 | 62 to 92 pictures per CPU second; the fused backward is slow on a CPU |
| softmax in bf16 as well | within the noise of a shared machine (0 to 5 %): left off |
| memory kept by the allocator (glibc: no mmap, no trim) | 470 to 400 ms of CPU time per step: 21 000 page faults fewer; with huge pages 345 to 410 |
| bf16 for the codec, contiguous memory | 141 to 258 crops/s; channels_last is slower (163) |
| torch.compile of the denoiser | 92 to 100 pictures per CPU second, after 210 s of compiling: left off |
| attention at 16x16 on the way down | 64 instead of 66 pictures per CPU second: on |
| 8 latent channels | 34 dB after 0.21 million crops and pictures; six of the channels carry it |
| from 0.14 million pictures (annealed) to 0.32 million (not annealed) | shape .48 to .92, size .80 to .83, texture .90 to .94, pattern .74 to .98 (144 and 96 captions, 25 steps) |
| texture variants in the scorer's later half | texture .68 to .998, the falling rate included |
| digits in half of the scorer's scenes for its last 5 000 steps | digit .43 to 1.00, the falling rate included |"""

MOTION_INTRO = """# shapes-motion: the adapter that makes clips

Motion modules for the denoiser in `../shapes`, as in AnimateDiff: eight frames of 64x64 of a
coloured shape that moves left, right, up or down or stands still.
`vedit generate "digit 5 moving left" -o five.gif` uses both. The folder is a `MotionAdapter` of
diffusers; `motion_words.safetensors` belongs to it: a vector for each of left, right, up, down and
still, added to the sinusoid of the timestep when the caption holds the word.

The path is not learnt. The denoiser had learnt from single pictures, which do not show motion: a
linear read-out of its features told five motions apart in 18 to 26 % of cases (chance is 20 %).
The adapter keeps the object, its colour and its place together through the frames, and after the
training below does not heed the words: the error to the true clip is the same with the right and
with the opposite word (ratio 0.997 to 1.002 at step 1 400, 0.997 to 1.000 at step 7 800), though
it has seen as many clips as the design expected to be needed. So `vedit generate` moves the clip
itself: at timestep 600 the foreseen clip is shifted along the path that the words name, 11 pixels
in all, and noised again (Text2Video-Zero's motion in latents); below that the adapter makes one
clip of it. What follows from this: all speeds are the same, a pattern of the background may be
drawn along, textures flicker, an object near the border can be cut, a small one can come twice
(the squares in `docs/img/shapes-clips.png`), and the stock AnimateDiffPipeline, which does none of this, makes
clips that hardly move."""


VIDEO_INTRO = """# shapes-video: the video model

A flow-matching video transformer in the layout of Wan 2.1: nine frames of 64x64 as five latent
frames of 16x16, which one network draws together from the caption, motion and all. `vedit generate`
uses it by default. `WanPipeline.from_pretrained` opens the folder; call it with `height=64, width=64,
num_frames=9, max_sequence_length=24`.

Its latents are those of the picture model in `../shapes`: the codec was taught by that model's
codec, and of every two frames after the first it codes the second, from which the decoder finds
the one between. The text encoder is the picture model's, unchanged. Single pictures came first,
with the picture model as teacher of the velocity and the judge's features as company for a middle
layer; then two latent frames of each clip, on paths as long as the frame has room for; then clips, whose
captions say the motion in 90 % of cases.

What taught it to move, one after another, judged by the loss under a wrong word of motion over that under the right
one: frames at levels of their own (it told still from moving), a head that tells object, path, step and time
from a middle layer (it told across from up and down), and a first frame shown almost clean in three pairs of
five while the other is mostly noise (it told left from right: of 1.00 came 1.08 after 240 steps, 1.38 after
1 700, 1.55 after 2 400; without it 1.00 after 2 150).

What taught it shapes, of which squared errors of velocities had told it little (.70 of clips after all of the
above): it draws from captions in eight steps without guidance, the embedded judge names what it sees in a frame, and
the cross entropy to the caption goes back through two of the steps (DRTune, Wu et al. 2024). The judge's weight
beside the loss of clips was .2 for 633 steps, which made ragged outlines, .05 for 3 130 (annealed then: shape .84),
and .15 from then on. Digits suffer: some become a stroke or a ring. The figures below ask no judge; on 300 captions
instead of 100 they are motion .97, colour .96, ground 1.00, shape .82 (of shapes .89, of digits .59)."""


def number(value: float) -> str:
    return f"{round(value):,}".replace(",", " ")


def verdict(figure: dict[str, Any]) -> str:
    return {None: "", True: "yes", False: "**no**"}[figure["passed"]]


def share_rows(gates: dict[str, Any], group: str, names: tuple[str, ...]) -> str:
    """Return the rows of a table of shares; names without a figure are left out."""
    rows = [(name, gates[f"{group}: {name}"]) for name in names if f"{group}: {name}" in gates]
    return "\n".join(
        f"| {name} | {f['value']:.3f} | [{f['low']:.3f}, {f['high']:.3f}] | {f['trials']} |"
        f" {'' if f['bar'] is None else format(f['bar'], 'g')} | {verdict(f)} |"
        for name, f in rows
    )


def share_table(title: str, gates: dict[str, Any], group: str, names: tuple[str, ...]) -> str:
    return (
        f"| {title} | share | interval | n | bar | passed"
        f" |\n|---|---|---|---|---|---|\n{share_rows(gates, group, names)}"
    )


def mean_row(gates: dict[str, Any], group: str, name: str) -> str:
    f = gates[f"{group}: {name}"]
    bar = "" if f["bar"] is None else f"{'at most' if f['at_most'] else 'at least'} {f['bar']:g}"
    value = f"{f['value']:.2f} {f['unit']}".strip()
    return (
        f"| {group}: {name} | {value} | [{f['low']:.2f}, {f['high']:.2f}] | {f['trials']} | {bar} |"
        f" {verdict(f)} |"
    )


def words_table() -> str:
    values = {
        **grammar.FIELDS,
        "shape": (*grammar.SHAPES, "digit 0 to digit 9"),
        "motion": ("moving left, right, up, down", "standing still"),
    }
    rows = [
        f"| {'background' if name == 'ground' else name} | {', '.join(said)} |"
        for name, said in values.items()
    ]
    return "| field | words |\n|---|---|\n" + "\n".join(rows)


def missed_line(gates: dict[str, Any]) -> str:
    missed = [f"{f['name']} ({f['group']}, {f['value']:g})" for f in gates.values() if f["passed"] is False]
    return f"Gates it misses: {', '.join(missed)}." if missed else "It passes every gate."


def trained(stage: dict[str, Any]) -> str:
    return (
        f"{number(stage['pictures'])} pictures, {number(stage['steps'])} steps, {number(stage['seconds'])} s"
    )


def curve_table(stage: dict[str, Any]) -> str:
    """Return what was measured during training, one row per time."""
    measured = [(pictures, values) for pictures, values in stage["measured"] if values]
    if not measured:
        return ""
    names = list(dict.fromkeys(itertools.chain.from_iterable(values for _, values in measured)))
    rows = [
        "| "
        + " | ".join([number(pictures), *(f"{values[name]:.2f}" if name in values else "" for name in names)])
        + " |"
        for pictures, values in measured
    ]
    return "\n".join([f"| pictures | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|", *rows])


def shapes_card(record: dict[str, Any]) -> str:
    gates, stages = record["gates"], record["stages"]
    denoiser = next(stage for name, stage in stages.items() if name.startswith("unet"))
    judge = {
        name.split(": ")[1]: f["value"]
        for name, f in gates.items()
        if name.startswith("judge on drawn scenes")
    }
    inversions = [
        mean_row(gates, group, name)
        for group in ("inversion, grain 0.02", "inversion, no grain")
        for name in (
            "codec to source",
            "ddim to codec",
            "ddim noise deviation",
            "ddim loss to source",
            "fixed-point to codec",
            "fixed-point noise deviation",
            "fixed-point loss to source",
        )
    ]
    samples, digits = gates["samples: shape"]["trials"], gates["samples of digits: shape"]["trials"]
    return f"""{INTRO}

## What it understands

{words_table()}

{FORMS}

## What it cannot do

{missed_line(gates)}

{LIMITS}

## Gates, as measured

`vedit bench model`: {samples} held-out captions of shapes, {digits} of digits, 50 DDIM steps, guidance 3; intervals are
95 %. Samples are read by the judge, which shares nothing with the model. On drawn held-out scenes
it reads {", ".join(f"{name} {value:g}" for name, value in judge.items())}.

{share_table("sample shows its", gates, "samples", JUDGED)}

{share_table("sample of a digit shows its", gates, "samples of digits", ("shape", "colour", "ground"))}

{share_table("scorer picks the right", gates, "scorer", (*JUDGED, "digit"))}

| codec and inversion (50 steps, guidance 1) | mean | interval | n | bar | passed |
|---|---|---|---|---|---|
{mean_row(gates, "codec", "psnr")}
{chr(10).join(inversions)}

Film grain in the source brings the inverted noise nearer to deviation 1
({gates["inversion, no grain: fixed-point noise deviation"]["value"]:.2f} without, {gates["inversion, grain 0.02: fixed-point noise deviation"]["value"]:.2f} with, one fixed-point pass), not all the way.

Size {gates["package: size"]["value"] / 1e6:.1f} MB (at most 12); loading {gates["package: load"]["value"]} s (at most 1; the fastest of three after
imports); a 50-step clip of eight frames with guidance {gates["speed: 50-step clip"]["value"]} s on the clock (at most 4), {gates["speed: 50-step clip, CPU time"]["value"]} s of
CPU time, on two idle cores of an AMD EPYC with AVX512-BF16, in single precision.

## How it was trained

| part | what | trained on |
|---|---|---|
| codec | AutoencoderKL f4, widths 16-32-48, L1 + 2 L2 + 0.001 KL, crops then whole pictures; 8 channels, of which the KL term switched 2 off, cut out: 6 remain | {trained(stages["codec"])} |
| denoiser, text | UNet2DConditionModel 32-64-96-96 with attention at 16, 8 and 4 on both ways, CLIPTextModel width 64; v-prediction, every noise level the same weight, loss 1 + 5 x object mask (plain in the annealed copy, which ships), posterior samples, 10 % of captions dropped | {trained(denoiser)} |
| scorer | open_clip, ResNet width 12, 8 variants of each scene as hard negatives, read-outs of each field during training | {trained(stages["scorer"])} |
| judge | five convolutions, blurred and noisy scenes | {trained(stages["judge"])} |

One thread of an AMD EPYC (AVX512-BF16), autocast bf16, seed 0, 85 to 93 pictures/s of the
denoiser; two threads on idle cores make 109 to 117. The schedule is scaled-linear to
`beta_end` 0.03, which leaves 0.24 % of the signal at its last step; read it from `scheduler/`.
Averaged (EMA) weights, fp16. The recipe: `vedit train --preset shapes-all --out RUN`, then
`vedit models pack RUN -o DIR` and `vedit bench model DIR --store`.

One thing of this run the recipe does not repeat: digits came into the grammar while it ran (step
8 006 of the denoiser, 2 400 of the judge, 7 000 of the scorer). Their word was added to the
tokenizer, the rows of the embeddings were moved to their new places, new ones began small and
random, and training went on with 18 % digits. A new run has them from its first step.

Samples during training (144 captions, EMA, 25 steps; `digit`: 48 more that name one; the last row after the rate fell to zero):

{curve_table(denoiser)}

{LEVERS}
"""


def motion_card(record: dict[str, Any]) -> str:
    gates = record["gates"]
    stage = next(iter(record["stages"].values()))
    frames = stage["config"]["frames"]
    moves = share_table("caption says", gates, "clips, motion", grammar.MOTIONS)
    return f"""{MOTION_INTRO}

## Measured

{missed_line(gates)}

`vedit bench motion`: {gates["clips: motion"]["trials"]} held-out captions, a fifth of them with digits, 25 DDIM steps, guidance 3; intervals
are 95 %. No learned judge: the object is tracked through the frames, and the middle frame is
compared with every drawing of shape, colour and background at the tracked place.

{share_table("clip shows its", gates, "clips", ("motion", "colour", "ground", "shape"))}

{share_table("of which", gates, "clips, shape", ("shape", "digit"))}

{moves}

{share_table("what this reading gets right on drawn clips", gates, "reading of drawn clips", ("motion", "colour", "ground", "shape"))}

Size {gates["package: size"]["value"] / 1e6:.1f} MB; a clip takes {gates["speed: clip, CPU time"]["value"]} s of CPU time on one thread.

## How it was trained

`vedit train --preset shapes-motion --out RUN`, the same with `--anneal 600`, then
`vedit models pack RUN -o DIR --motion --annealed`: {number(stage["pictures"] / frames)} drawn clips
of {frames} frames in {number(stage["steps"])} steps and {number(stage["seconds"])} s ({stage["device"]}, shared), on the denoiser `{stage["config"]["base"]}`, which stays
frozen. v-prediction, one noise level per clip (timestep = 1000 u^{stage["config"]["noise_power"]}), noise drawn anew for each
frame, loss 1 + 5 x object mask (plain in the last 600 steps, whose rate fell to zero), {100 * stage["config"]["says_motion"]:.0f} % of captions say the motion, 10 % are dropped; averaged weights, fp16.

One thing of this run the recipe does not repeat: its first 1 212 steps had a LoRA on the text
attention in place of the motion words, and stood on the denoiser as it then was (steps 9 500 to
10 300); the denoiser under it changed twice more, at steps 3 523 and 4 890. The row at 32 000
pictures is theirs, 32 clips sampled as trained, without the imposed path: motion is not there.

{curve_table(stage)}
"""


def stages_since_the_first(record: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the stages of a packed model by name, those of the packed models it began with first."""
    before = record.get("began with")
    return [*(stages_since_the_first(before) if before else ()), *record["stages"].items()]


def video_card(record: dict[str, Any]) -> str:
    gates = record["gates"]
    titles = {
        "video-codec": "Codec",
        "video-pictures": "Single pictures",
        "video-pairs": "Two latent frames of clips",
        "video": "Clips",
        "video-annealed": "Clips, the rate falling to zero",
        "video-judged": "Clips, and drawings of its own that the judge reads",
        "video-judged-annealed": "Clips, and drawings of its own that the judge reads, the rate falling to zero",
    }
    parts = [
        f"{titles[name]}: {trained(stage)}.\n\n{curve_table(stage)}".strip()
        for name, stage in stages_since_the_first(record)
    ]
    return f"""{VIDEO_INTRO}

## Measured

{missed_line(gates)}

`vedit bench motion DIR`: {gates["clips: motion"]["trials"]} held-out captions, a fifth of them with digits, 25 Euler steps, guidance 3, nothing
imposed; intervals are 95 %. No learned judge, as for the motion adapter.

{share_table("clip shows its", gates, "clips", ("motion", "colour", "ground", "shape"))}

{share_table("of which", gates, "clips, shape", ("shape", "digit"))}

{share_table("caption says", gates, "clips, motion", grammar.MOTIONS)}

Codec {gates["codec: psnr"]["value"]:.1f} dB on {gates["codec: psnr"]["trials"]} held-out clips; size {gates["package: size"]["value"] / 1e6:.1f} MB; a clip takes {gates["speed: clip, CPU time"]["value"]} s of CPU time on one thread.

## How it was trained

`vedit train --preset shapes-video-codec --out RUN`, `--preset shapes-video-pictures`, `--preset shapes-video-pairs`,
`--preset shapes-video`, `--preset shapes-video-judged`, the same with `--anneal 500`, then `vedit models pack RUN -o DIR
--video --annealed`. `--preset shapes-video --begin builtin` goes on from these weights.
Pictures below count latent frames; shares while single pictures train are the judge's, later the reading's.

{chr(10).join(f"{part}{chr(10)}" for part in parts)}"""


def instruct_card(record: dict[str, Any]) -> str:
    titles = {
        "instruct": "Pairs",
        "instruct-annealed": "Pairs, the rate falling to zero",
        "instruct-judged": "Pairs, and drawings of its own",
        "instruct-judged-annealed": "Pairs, and drawings of its own, the rate falling to zero",
    }
    parts = [
        f"{titles[name]}: {trained(stage)}.\n\n{curve_table(stage)}".strip()
        for name, stage in stages_since_the_first(record)
        if name in titles
    ]
    return f"""{INSTRUCT_INTRO}

## Measured

`vedit bench scenes --instructions`, held-out cases told as instructions, with 95 % intervals over cases. No
judge is learnt: an edit is a success when, of all values of the edited field, the wanted one's drawing is
the nearest. What training aims at: success .80, unchanged 30 dB, a ratio of losses of .6.

{(INSTRUCT / "measured.md").read_text().strip()}

## How it was trained

`vedit train --preset shapes-instruct --out RUN`, `--preset shapes-instruct-judged`, the same with `--anneal 600`, then
`vedit models pack RUN -o DIR --instruct --annealed`. It began with `../shapes-video` as it then was. Shares are of the tuning cases: of single pictures, of clips, and of each kind of edit on
pictures; "kept" is the part that an edit should leave, against the source, before the codec's loss is
given back.

{chr(10).join(f"{part}{chr(10)}" for part in parts)}"""


if __name__ == "__main__":
    cards = (
        (BUILTIN, shapes_card),
        (MOTION, motion_card),
        (VIDEO, video_card),
        (INSTRUCT, instruct_card),
    )
    for folder, card in cards:
        if (folder / "training.json").exists():
            (Path(folder) / "README.md").write_text(card(record_of(folder)))
            print(folder / "README.md")
