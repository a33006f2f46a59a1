"""`vedit edit`: change what a clip shows by text."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from vedit import methods
from vedit.cli.common import (
    Voice,
    echo,
    examples,
    may_overwrite,
    options,
    print_json,
    toml_value,
    voice_options,
)
from vedit.errors import UsageError

if TYPE_CHECKING:
    from vedit.jobs.edit.request import EditRequest

EXAMPLES = (
    (
        (
            'vedit edit clip.gif -o blue.gif --source-prompt "a red circle on a grey background" --prompt'
            ' "a blue circle on a grey background"'
        ),
        "change a colour with the embedded model",
    ),
    (
        (
            'vedit edit clip.gif -o out.gif --method pnp --source-prompt "a red circle on a grey background"'
            ' --prompt "a green circle on a grey background"'
        ),
        "the same with plug-and-play features",
    ),
    (
        (
            "vedit edit wolf.mp4 -o fox.mp4 --model stable-diffusion-v1-5/stable-diffusion-v1-5 --frames 8"
            ' --stride 3 --size 512 --source-prompt "a grey wolf" --prompt "a grey fox"'
        ),
        "a real clip with a real model",
    ),
    (
        (
            'vedit edit clip.gif -o blue.gif --source-prompt "a red circle" --prompt "a blue circle" --mask'
            " box:10%,10%,40%,60% --mask time:1.5s- --save-masks mask.gif --save-attention heat/"
        ),
        "only in a box, or after a second and a half; with the mask, and a picture for each word",
    ),
    (
        'vedit edit clips -O blue --source-prompt "a red circle" --prompt "a blue circle"',
        "every clip of a folder; the same call again goes on where it stopped",
    ),
    (
        (
            'vedit edit clip.gif -o all.gif --method glp --ablate --source-prompt "a red circle" --prompt'
            ' "a blue circle" --truth truth.gif'
        ),
        "GLP and its parts side by side, with a table",
    ),
    (
        (
            "vedit edit wolf.mp4 -o fox.mp4 --model stable-diffusion-v1-5/stable-diffusion-v1-5 --frames 8"
            ' --source-prompt "a grey wolf" --prompt "a grey fox" --control canny=0.8'
            " --image-prompt fox.png=0.6"
        ),
        "held to the clip's edges, and with the look of a picture",
    ),
    (
        'vedit edit clip.gif -o blue.gif --instruction "make the circle blue"',
        "by an instruction, with the embedded editor of drawn scenes",
    ),
    (
        (
            'vedit edit clip.gif -o out.gif --instruction "make the circle like the picture"'
            " --ref picture.png --mask time:0.4s-"
        ),
        "like a reference picture, and only from a time on",
    ),
    ("vedit edit --list-methods", "the methods and their parameters"),
)

model_options = options(
    click.option(
        "--model",
        default="shapes",
        metavar="NAME",
        help=(
            "shapes (embedded), a folder, one file of weights, or a Hub id such as OWNER/NAME; with +ADAPTER"
            " behind it, a motion adapter by folder or Hub id."
        ),
    ),
    click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model."),
    click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps."),
    click.option(
        "--dtype",
        type=click.Choice(["auto", "fp32", "fp16", "bf16"]),
        default="auto",
        help="Precision of the network.",
    ),
    click.option(
        "--offload",
        type=click.Choice(["none", "model", "sequential"]),
        default="none",
        help="Keep parts on the CPU between their uses.",
    ),
    click.option(
        "--lora",
        multiple=True,
        metavar="FILE|ID[:SCALE]",
        help="Merge a LoRA into the model: a file, a folder or a Hub id, with its weight; several add up.",
    ),
)
control_option = click.option(
    "--control",
    multiple=True,
    metavar="NET[=WEIGHT][:CLIP]",
    help=(
        "Go by a ControlNet, inversion and all: canny (edges, found here), depth or pose (by a clip of"
        " yours), or a folder or Hub id with a clip or canny; depth=0.5:depth.mp4. Several add up."
    ),
)
call_option = click.option(
    "--frames-per-call",
    type=click.IntRange(1),
    default=8,
    metavar="N",
    help="Frames that go through the network at once.",
)
clip_options = options(
    click.option(
        "--frames", "frames", type=click.IntRange(1), metavar="N", help="Take at most so many frames."
    ),
    click.option(
        "--stride",
        type=click.IntRange(1),
        default=1,
        metavar="N",
        help="Take every so many-th frame; each lasts as long as those it stands for.",
    ),
    click.option("--start", type=click.IntRange(0), default=0, metavar="N", help="First frame, from 0."),
    click.option(
        "--size",
        metavar="S|WxH",
        help=(
            "Size that is worked on: a shorter side, or width and height; by default the side that the model"
            " was trained at. Any size fits."
        ),
    ),
    click.option(
        "--crop",
        type=click.Choice(["none", "square"]),
        default="none",
        help="square: only the centre square, as the thesis cuts its clips.",
    ),
)


@click.command(
    help=f"""Change what a clip shows by text.

{examples(EXAMPLES)}"""
)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("-o", "--output", metavar="FILE", help="Write here: GIF, or video by the name.")
@click.option(
    "-O",
    "--output-dir",
    metavar="DIR",
    help=(
        "Edit each input, and each clip of a folder, and write it into this folder under its input's name;"
        " the same call goes on where it stopped."
    ),
)
@click.option(
    "--suffix",
    default="",
    metavar="TEXT",
    help="Add to the names that -O writes: a.gif becomes a_blue.gif with _blue.",
)
@click.option("--source-prompt", "--source", default="", metavar="TEXT", help="What the clip shows.")
@click.option("--prompt", "target", metavar="TEXT", help="What it should show.")
@click.option(
    "--instruction",
    metavar="TEXT",
    help=(
        'Edit by an instruction, such as "make the circle blue", instead of --prompt; the method is easyv2v,'
        " or another that follows one."
    ),
)
@click.option(
    "--weights",
    metavar="DIR|ID",
    help="Trained weights of easyv2v, a folder or a Hub id; by default those of the embedded editor.",
)
@click.option(
    "--ref",
    metavar="FILE",
    help="A picture of what the edit should look like: with --instruction, or of the first frame for anyv2v.",
)
@click.option(
    "--ref-from",
    type=click.IntRange(0),
    metavar="N",
    help="With --ref-edit: edit frame N of the clip first, from 0, and take it as the reference.",
)
@click.option("--ref-edit", metavar="TEXT", help="The instruction for the frame of --ref-from.")
@click.option(
    "--method",
    metavar="NAME",
    help="Editing method (see --list-methods); p2p by default, easyv2v with --instruction.",
)
@click.option(
    "--backend",
    metavar="NAME",
    help="instruct: the released editor, ip2p, lucy, ltx2-ic or vace; ip2p by default.",
)
@click.option(
    "--accept-licence",
    is_flag=True,
    help="instruct: fetch weights whose licence must be accepted; without it the licence is named.",
)
@click.option(
    "--preset",
    metavar="NAME",
    help="Preset of parameters; METHOD-shapes with the embedded model by default, else METHOD.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a parameter of the method.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Sampling steps.")
@click.option(
    "--guidance",
    type=click.FloatRange(1, 100),
    metavar="X",
    help="How strongly the prompt leads; 1 is no guidance.",
)
@click.option("--negative", metavar="TEXT", help="What guidance leads away from.")
@click.option(
    "--strength",
    type=click.FloatRange(0, 1, min_open=True),
    metavar="X",
    help="sdedit: how much is made anew; 1 keeps next to nothing.",
)
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of everything random.")
@click.option("--inversion", metavar="FILE", help="Use this inversion instead of the cache.")
@click.option(
    "--mask",
    "masks",
    multiple=True,
    metavar="FILE|box:X,Y,W,H[@T-T]|track:X,Y,W,H[@T]|time:T-T|frames:N-N",
    help=(
        "Where and when to edit: a picture or clip (white is edited), a box, a box or picture that follows"
        " what it holds (track:), a range of time or frames; several are united. With -O a folder of masks"
        " that are called as the clips are."
    ),
)
@click.option(
    "--flow",
    metavar="NAME[:FILE]",
    help=(
        "What estimates the clip's motion for --mask track: and for flatten and fresco: tvl1 (default), dis,"
        " or raft or gmflow with a file of weights."
    ),
)
@click.option(
    "--keep-outside/--no-keep-outside",
    default=None,
    help=(
        "Put the source's own pixels back outside the mask, yours or that of the method's words; on when"
        " there is one."
    ),
)
@click.option(
    "--detail/--no-detail",
    default=None,
    help=(
        "Give back what the codec loses of the clip, wherever the edit left it as it was; on, but with"
        " --ablate."
    ),
)
@click.option(
    "--save-masks",
    metavar="FILE|DIR",
    help="Also write the mask that the edit acted in, as a clip or as pictures.",
)
@click.option("--save-attention", metavar="DIR", help="Also write a picture for each word: where it looked.")
@click.option("--preview", metavar="FILE", help="Also write source and edit side by side.")
@click.option(
    "--ablate",
    is_flag=True,
    help=(
        "Run the method with its parts switched off in turn: the output shows all side by side, with a table."
    ),
)
@click.option("--truth", metavar="FILE", help="The true edited clip, for the table of --ablate.")
@click.option("--explain", is_flag=True, help="Print the plan (rules, sites, steps, evaluations) and stop.")
@click.option("--list-methods", is_flag=True, help="List the methods and their parameters, and stop.")
@click.option("--no-metadata", is_flag=True, help="Write no run record, neither beside the output nor in it.")
@model_options
@control_option
@click.option(
    "--image-prompt",
    metavar="FILE[=WEIGHT]",
    help="Show the look of a picture too, by an IP-Adapter; fox.png=0.7.",
)
@click.option(
    "--image-adapter",
    metavar="FILE|DIR|ID",
    help="The IP-Adapter of --image-prompt; by default the published one for the model.",
)
@call_option
@click.option(
    "--window",
    type=click.IntRange(1),
    metavar="N",
    help="Frames of a long clip that are edited together; those of a call by default.",
)
@click.option(
    "--memory",
    type=click.IntRange(1),
    metavar="MIB",
    help="Refuse a run that would need more; by default, what the device has free.",
)
@clip_options
@click.option(
    "--output-size",
    default="source",
    metavar="source|worked|WxH",
    help=(
        "Size of the output: the clip's own (of --crop square, its square's), the one worked on, or another."
    ),
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("-n", "--no-overwrite", "keep", is_flag=True, help="Never replace an output, and never ask.")
@click.option("--json", "as_json", is_flag=True, help="Print the run record; with -O, what became of all.")
@voice_options()
def command(
    inputs: tuple[str, ...], output: str | None, output_dir: str | None, suffix: str, source_prompt: str,
    target: str | None, settings: tuple[str, ...], masks: tuple[str, ...], overwrite: bool, keep: bool,
    explain: bool, list_methods: bool, no_metadata: bool, as_json: bool, quiet: bool, progress: str,
    method: str | None, instruction: str | None, weights: str | None, **given: Any,
) -> None:  # fmt: skip
    if list_methods:
        show_methods()
        return
    if instruction is not None:
        target = instructed(target, instruction, method)
    given["method"] = method or ("p2p" if instruction is None else "easyv2v")
    if weights is not None:
        _check_weights(given["method"], instruction)
        settings = (*settings, f"weights={weights}")
    if not inputs or target is None:
        missing = "--prompt" if inputs else "an input"
        raise UsageError(
            f"edit needs {missing}.",
            "It takes a clip, what it shows (--source-prompt) and what it should show (--prompt); or"
            " --instruction.",
            f"Example: {EXAMPLES[0][0]}",
        )
    may = may_overwrite(overwrite, keep)
    check_outputs(inputs, output, output_dir, suffix, explain)
    from vedit.jobs.edit.request import EditRequest

    request = EditRequest(
        input=inputs[0], output=output, source_prompt=source_prompt, prompt=target,
        set=settings_of(given["method"], settings), overwrite=overwrite,
        mask=tuple(masks), metadata=not no_metadata, **given,
    )  # fmt: skip
    voice = Voice(quiet, progress)
    if not voice.shows_bar:
        hide_bars_of(request.model)
    if output_dir is not None:
        from vedit.cli.edit_clips import edit_clips

        edit_clips(inputs, output_dir, request, suffix, may, voice, as_json)
        return
    if keep and output is not None:
        from vedit.media.atomic import check_output

        check_output(output, inputs, overwrite=False)
    edit_one(request, voice, explain, as_json)


def _check_weights(method: str, instruction: str | None) -> None:
    """Refuse weights of an instruction editor for a method that has none of its own. Raises UsageError."""
    from vedit.jobs.edit.settings import keys_of
    from vedit.methods import has

    if has(method) and "weights" not in keys_of(method):
        raise UsageError(
            f"--weights are those of easyv2v, and the method is {method}.",
            "The weights of a model are named by --model.",
            "Add --instruction TEXT" if instruction is None else "Leave out --method",
        )


def instructed(prompt: str | None, instruction: str, method: str | None) -> str:
    """The instruction as the prompt of a method that follows one. Raises UsageError."""
    if prompt is not None:
        raise UsageError(
            "--prompt and --instruction were given together.",
            "A prompt says what the clip should show, an instruction what to do to it.",
            "Give one of them",
        )
    if method is not None:
        from vedit.jobs.edit.before import follows_instructions

        if not follows_instructions(method):
            raise UsageError(
                f"{method} follows no instruction: it takes --prompt, and mostly --source-prompt.",
                "",
                "Leave out --method, or name --method easyv2v",
            )
    return instruction


def check_outputs(
    inputs: tuple[str, ...], output: str | None, output_dir: str | None, suffix: str, explain: bool
) -> None:
    """Refuse inputs and outputs that do not go together."""
    if output is not None and output_dir is not None:
        raise UsageError("-o and -O were given together.", "-o is for one clip, -O for a folder of results.")
    if output_dir is not None:
        if explain:
            raise UsageError("--explain tells of one clip, and -O is for many.", "", "Name one, without -O")
        return
    if suffix:
        raise UsageError(
            "--suffix is for the names that -O writes.", "", "Add -O DIR, or name a file with -o"
        )
    if len(inputs) > 1:
        example = 'vedit edit a.gif b.gif -O blue --source-prompt "a red circle" --prompt "a blue circle"'
        raise UsageError(f"{len(inputs)} inputs need a folder for the results.", "", f"Example: {example}")
    if os.path.isdir(inputs[0]):
        from vedit.jobs.batch.files import holds_pictures

        if not holds_pictures(inputs[0]):
            raise UsageError(
                f"{inputs[0]} is a folder, and not one of pictures alone, which would be a clip.",
                "Its clips need a folder for the results.",
                "Add -O DIR",
            )
    if output is None and not explain:
        raise UsageError("no output named.", "", "Add -o FILE")


def edit_one(request: EditRequest, voice: Voice, explain: bool, as_json: bool) -> None:
    """Make one edit, or tell how it would be made."""
    from vedit.jobs.edit.plan import plan
    from vedit.media.atomic import together

    if explain and request.ablate:
        raise UsageError("--explain does not go with --ablate, which writes all variants side by side.")
    planned = plan(request, voice)
    if explain:
        echo(planned.explain(voice))
        return
    with together(is_last=True):
        record = planned.run(voice)
    voice.say(summary(record))
    if as_json:
        print_json(record)
    elif request.ablate:
        from vedit.jobs.edit.ablate import table_text

        echo(table_text(record["rows"]))


def settings_of(method: str, texts: Iterable[str]) -> dict[str, Any]:
    """KEY=VALUE texts as a table; raises UsageError for one that is none, naming the method's parameters."""
    table = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            from vedit.jobs.edit.settings import keys_of

            keys = ", ".join(keys_of(method))
            raise UsageError(
                f"--set {text} has no value.", "Write KEY=VALUE.", f"Parameters of {method}: {keys}"
            )
        table[key] = toml_value(value)
    return table


def hide_bars_of(model: str) -> None:
    """No bars of the Hub's client, for a model that it would be asked for; its import costs more than all
    other checks.
    """
    from vedit.models.hub import OURS, hide_downloads

    if model not in OURS and not os.path.exists(model):
        hide_downloads()


def summary(record: dict[str, Any]) -> str:
    """What came out, in a line."""
    width, height = record["sizes"]["output"]
    spans = ", ".join(
        f"{name} {seconds:.1f}"
        for name, seconds in record["seconds"].items()
        if name in ("invert", "edit", "decode") and seconds
    )
    output = "standard output" if record["output"] == "-" else record["output"]
    took = f"{record['seconds']['total']:.1f} s" + (f" ({spans})" if spans else "")
    return f"{output}: {record['clip']['frames'][2]} frames of {width}x{height}, {took}"


def show_methods() -> None:
    """Each method with its parameters, defaults and what they mean."""
    for name in methods.names():
        module = methods.load(name)
        echo(f"{name}: {module.SUMMARY}")
        for key, field in module.Params.model_fields.items():
            echo(f"    {key} = {field.default!r}: {field.description}")
