"""`vedit edit`: change what a clip shows by text."""

from __future__ import annotations

import os
from typing import Any

import click

from vedit import methods
from vedit.cli.common import Voice, echo, examples, options, print_json, toml_value
from vedit.errors import OutputError, UsageError

EXAMPLES = (
    (
        'vedit edit clip.gif -o blue.gif --source "a red circle on a grey background" --prompt "a blue circle on a grey background"',
        "change a colour with the embedded model",
    ),
    (
        'vedit edit clip.gif -o out.gif --method pnp --source "a red circle on a grey background" --prompt "a green circle on a grey background"',
        "the same with plug-and-play features",
    ),
    (
        'vedit edit wolf.mp4 -o fox.mp4 --model stable-diffusion-v1-5/stable-diffusion-v1-5 --frames 8 --stride 3 --size 512 --source "a grey wolf" --prompt "a grey fox"',
        "a real clip with a real model",
    ),
    (
        'vedit edit clip.gif -o blue.gif --source "a red circle" --prompt "a blue circle" --mask box:10%,10%,40%,60% --mask time:1.5s- --save-masks mask.gif --save-attention heat/',
        "only in a box, or after a second and a half; with the mask, and a picture for each word",
    ),
    (
        'vedit edit clip.gif -o all.gif --method glp --ablate --source "a red circle" --prompt "a blue circle" --truth truth.gif',
        "GLP and its parts side by side, with a table",
    ),
    ("vedit edit --list-methods", "the methods and their parameters"),
)

model_options = options(
    click.option("--model", default="shapes", metavar="NAME", help="shapes (embedded), a folder, one file of weights, or a Hub id such as OWNER/NAME."),
    click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model."),
    click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps."),
    click.option("--dtype", type=click.Choice(["auto", "fp32", "fp16", "bf16"]), default="auto", help="Precision of the network."),
    click.option("--offload", type=click.Choice(["none", "model", "sequential"]), default="none", help="Keep parts on the CPU between their uses."),
)
call_option = click.option("--frames-per-call", type=click.IntRange(1), default=8, metavar="N", help="Frames that go through the network at once.")
clip_options = options(
    click.option("--frames", "frames", type=click.IntRange(1), metavar="N", help="Take at most so many frames."),
    click.option("--stride", type=click.IntRange(1), default=1, metavar="N", help="Take every so many-th frame; each lasts as long as those it stands for."),
    click.option("--start", type=click.IntRange(0), default=0, metavar="N", help="First frame, from 0."),
    click.option(
        "--size",
        metavar="S|WxH",
        help="Size that is worked on: a shorter side, or width and height; by default the side that the model was trained at. Any size fits.",
    ),
    click.option("--crop", type=click.Choice(["none", "square"]), default="none", help="square: only the centre square, as the thesis cuts its clips."),
)


@click.command(
    help=f"""Change what a clip shows by text.

{examples(EXAMPLES)}"""
)
@click.argument("input", required=False, metavar="INPUT")
@click.option("-o", "--output", metavar="FILE", help="Write here: GIF, or video by the name.")
@click.option("--source", default="", metavar="TEXT", help="What the clip shows.")
@click.option("--prompt", "target", metavar="TEXT", help="What it should show.")
@click.option("--method", default="p2p", metavar="NAME", help="Editing method (see --list-methods).")
@click.option("--preset", metavar="NAME", help="Preset of parameters; METHOD-shapes with the embedded model by default, else METHOD.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Set a parameter of the method.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Sampling steps.")
@click.option("--guidance", type=click.FloatRange(1, 100), metavar="X", help="How strongly the prompt leads; 1 is no guidance.")
@click.option("--negative", metavar="TEXT", help="What guidance leads away from.")
@click.option("--strength", type=click.FloatRange(0, 1, min_open=True), metavar="X", help="sdedit: how much is made anew; 1 keeps next to nothing.")
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of everything random.")
@click.option("--inversion", metavar="FILE", help="Use this inversion instead of the cache.")
@click.option(
    "--mask",
    "masks",
    multiple=True,
    metavar="FILE|box:X,Y,W,H[@T-T]|time:T-T|frames:N-N",
    help="Where and when to edit: a picture or clip (white is edited), a box, a range of time or frames; several are united.",
)
@click.option(
    "--keep-outside/--no-keep-outside",
    default=None,
    help="Put the source's own pixels back outside the mask, yours or that of the method's words; on when there is one.",
)
@click.option("--save-masks", metavar="FILE|DIR", help="Also write the mask that the edit acted in, as a clip or as pictures.")
@click.option("--save-attention", metavar="DIR", help="Also write a picture for each word: where it looked.")
@click.option("--preview", metavar="FILE", help="Also write source and edit side by side.")
@click.option("--ablate", is_flag=True, help="Run the method with its parts switched off in turn: the output shows all side by side, with a table.")
@click.option("--truth", metavar="FILE", help="The true edited clip, for the table of --ablate.")
@click.option("--explain", is_flag=True, help="Print the plan (rules, sites, steps, evaluations) and stop.")
@click.option("--list-methods", is_flag=True, help="List the methods and their parameters, and stop.")
@click.option("--no-metadata", is_flag=True, help="Write no run record, neither beside the output nor in it.")
@model_options
@call_option
@click.option("--window", type=click.IntRange(1), metavar="N", help="Frames of a long clip that are edited together; those of a call by default.")
@click.option("--memory", type=click.IntRange(1), metavar="MIB", help="Refuse a run that would need more; by default, what the device has free.")
@clip_options
@click.option(
    "--output-size",
    default="source",
    metavar="source|worked|WxH",
    help="Size of the output: the clip's own (of --crop square, its square's), the one worked on, or another.",
)
@click.option("-y", "--overwrite", is_flag=True, help="Replace the output if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the run record.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no warnings.")
@click.option("--progress", type=click.Choice(["auto", "jsonl", "none"]), default="auto", help="Progress on standard error.")
def command(input: str | None, output: str | None, source: str, target: str | None, list_methods: bool, **given: Any) -> None:
    if list_methods:
        show_methods()
        return
    from vedit.app.extras import need

    if input is None or target is None:
        missing = "an input" if input is None else "--prompt"
        raise UsageError(
            f"edit needs {missing}.", "It takes a clip, what it shows (--source) and what it should show (--prompt).", f"Example: {EXAMPLES[0][0]}"
        )
    if output is None and not given["explain"]:
        raise UsageError("no output named.", "", "Add -o FILE")
    if given["truth"] and not given["ablate"]:
        raise UsageError("--truth is for the table of --ablate.", "", "Add --ablate, or score the output: vedit score OUT --truth FILE")
    need("diffusion")
    run_edit(input, output or "-", source, target, given)


def run_edit(input: str, output: str, source: str, target: str, given: dict[str, Any]) -> None:
    voice = Voice(given["quiet"], given["progress"])
    if not voice.shows_bar:
        hide_bars_of(given["model"])
    check_files(input, output, given)
    pixels = read_first(input, (source, target), given, voice)
    params = method_params(given["method"], given["preset"], given["settings"], given["model"], **{key: given[key] for key in OWN_OPTIONS})

    from vedit.app.edit.ablate import ablate, table_text
    from vedit.app.edit.job import Job
    from vedit.app.edit.video import edit_video
    from vedit.app.edit.words import with_mask_words
    from vedit.media.atomic import together
    from vedit.media.run import Settings
    from vedit.media.window import usable_cores
    from vedit.models.sd.load import load_model

    fields = methods.load(given["method"]).Params.model_fields
    if not given["masks"]:
        found = with_mask_words(methods.load(given["method"]).Params, params, source, target, is_drawn=given["model"] == "shapes")
        if found != params:
            voice.say(f"the edit is kept to where {', '.join(found['mask_words'])} looks; for the whole frame: --set mask_words=")
        params = found
    if given["seed"] and "shared_noise" not in fields and "glp" not in fields:
        voice.say(f"--seed {given['seed']} changes nothing: {given['method']} draws no noise")
    job = Job(
        input, output, given["method"], source, target, pixels.selection, params, given["seed"], given["inversion"],
        given["masks"], given["keep_outside"], given["frames_per_call"], given["preview"], not given["no_metadata"],
        given["window"], given["save_masks"], given["save_attention"], memory_mib=given["memory"],
    )  # fmt: skip
    check_source(job)
    drawn = (64, 64)  # the size of every scene that the embedded model was trained on
    if given["model"] == "shapes" and (pixels.clip.width, pixels.clip.height) != drawn:
        voice.say("the embedded model only knows the scenes that `vedit scene` draws, 64x64 pixels; name a real one with --model OWNER/NAME")
    model = load_model(given["model"], given["revision"], device=given["device"], dtype=given["dtype"], offload=given["offload"], warn=voice.warn)
    if given["explain"]:
        from vedit.app.edit.explain import explain
        from vedit.app.edit.video import check_job

        check_job(job, model)
        echo(explain(job, model, pixels, voice.warn))
        return
    settings = Settings(jobs=usable_cores(), warn=voice.warn)
    with together(is_last=True):
        if given["ablate"]:
            record = ablate(job, model, settings, truth=given["truth"], pixels=pixels, watch=voice.steps)
        else:
            record = edit_video(job, model, settings, pixels=pixels, watch=voice.steps)
    voice.say(summary(record))
    if given["as_json"]:
        print_json(record)
    elif given["ablate"]:
        echo(table_text(record["rows"]))


def check_names(input: str, output: str, given: dict[str, Any]) -> None:
    """Check every name that the edit will write to: formats, twins, what is in the way."""
    from vedit.app.record import SUFFIX
    from vedit.media.atomic import check_output, refuse_twice, same_file
    from vedit.media.formats import output_format

    names = [("-o", output), *((f"--{name.replace('_', '-')}", given[name]) for name in ("preview", "save_masks", "save_attention"))]
    refuse_twice([*names, ("the record", None if given["no_metadata"] or output == "-" else output + SUFFIX)])
    for option, path in names:
        if path is None:
            continue
        if option not in ("-o", "--preview") and is_folder(path, given["save_attention"]):
            check_folder(path, given["overwrite"])
        elif output_format(path) == "folder":
            raise UsageError(
                f"{option} {path} names a folder or a pattern, and one clip is written.", "", f"Name a file in it: {option} {os.path.join(path, 'clip.gif')}"
            )
        elif input != "-" and same_file(path, input) and not given["overwrite"]:
            raise UsageError(f"{option} {path} is the clip itself.", "", "Name another file, or add -y to replace the clip")
        else:
            check_output(path, (input,), True if given["overwrite"] else None)


def hide_bars_of(model: str) -> None:
    """No bars of the Hub's client, for a model that it would be asked for; its import costs more than all other checks."""
    from vedit.models.hub import EMBEDDED, hide_downloads

    if model != EMBEDDED and not os.path.exists(model):
        hide_downloads()


def summary(record: dict[str, Any]) -> str:
    """What came out, in a line."""
    width, height = record["sizes"]["output"]
    spans = ", ".join(f"{name} {seconds:.1f}" for name, seconds in record["seconds"].items() if name in ("invert", "edit", "decode") and seconds)
    output = "standard output" if record["output"] == "-" else record["output"]
    took = f"{record['seconds']['total']:.1f} s" + (f" ({spans})" if spans else "")
    return f"{output}: {record['clip']['frames'][2]} frames of {width}x{height}, {took}"


def check_files(input: str, output: str, given: dict[str, Any]) -> None:
    """Refuse names that are wrong before anything is read: outputs, files of options, the method and its preset."""
    from vedit import presets
    from vedit.app.edit.before import check_file

    check_names(input, output, given)
    if not methods.has(given["method"]):
        methods.load(given["method"])  # raises, naming those there are
    if given["ablate"]:
        check_ablation(given)
        from vedit.app.edit.ablate import ablations

        ablations(given["method"])
    if given["preset"]:
        presets.find(given["preset"])
    check_file(given["inversion"], "--inversion")
    check_file(given["truth"], "--truth")


def read_first(input: str, prompts: tuple[str, ...], given: dict[str, Any], voice: Voice) -> Any:
    """The clip's frames, once all that can be wrong with them, sizes, words and masks is ruled out."""
    from vedit.app.clips import read_pixels
    from vedit.app.edit.before import check_clip, check_prompts, chooser
    from vedit.app.masks import EditMask
    from vedit.models.sd.side import native_side

    asked = asked_of(given)
    size = check_clip(input)
    check_prompts(given["model"], prompts)
    choose = chooser(asked, native_side(given["model"], given["revision"]), given.get("masks", ()))
    if size is not None:
        choose(size)
    pixels = read_pixels(input, choose, warn=voice.warn)
    if given.get("masks"):
        EditMask(given["masks"], pixels, lambda message: None)  # what it warns of is said when the edit makes it
    return pixels


def asked_of(given: dict[str, Any]) -> Any:
    from vedit.app.edit.before import Asked, parse_output, parse_size

    output = parse_output(given.get("output_size", "source"))
    return Asked(given["start"], given["stride"], given["frames"], parse_size(given["size"]), given["crop"], output)


def check_source(job: Any) -> None:
    """Refuse a method that compares the words of two prompts when there is one."""
    if "source prompt" in methods.load(job.method).NEEDS and not job.source.strip() and job.inversion is None:
        raise UsageError(
            f"{job.method} edits by the difference between two prompts, and --source is missing.",
            "--source says what the clip shows, --prompt what it should show.",
            'Add --source "..."; or take a method that needs none, such as --method pnp',
        )


def is_folder(path: str, always: str | None) -> bool:
    """Whether an output is a folder of pictures."""
    return path == always or os.path.isdir(path) or path.endswith(("/", os.sep))


def check_folder(path: str, overwrite: bool) -> None:
    """Refuse a folder that holds pictures already, and a name that is a file."""
    if os.path.exists(path) and not os.path.isdir(path):
        raise OutputError(f"{path} is a file, and a folder of pictures is asked for.", "", "Name another folder")
    if not overwrite and os.path.isdir(path) and any(name.endswith(".png") for name in os.listdir(path)):
        raise OutputError(f"{path} holds pictures already.", "", "Add -y to write into it, or name another folder")


def check_ablation(given: dict[str, Any]) -> None:
    """What belongs to one result has no place where there are several."""
    for name in ("preview", "save_masks", "save_attention", "explain"):
        if given[name]:
            raise UsageError(f"--{name.replace('_', '-')} does not go with --ablate, which writes all variants side by side.")


OWN_OPTIONS = {"steps": "steps", "guidance": "guidance", "negative": "negative_prompt", "strength": "strength"}


def method_params(method: str, preset: str | None, settings: tuple[str, ...], model: str, **options: Any) -> dict[str, Any]:
    """The method's parameters: preset, then --set, then options such as --steps; checked before a model is loaded.

    options: those of OWN_OPTIONS that were given, None for the others.
    """
    from vedit.methods.base import canonical, read_params
    from vedit.presets import load_method

    module = methods.load(method)
    values = load_method(method, preset or (f"{method}-shapes" if model == "shapes" else method), required=preset is not None)
    values = {canonical(module.Params, key): value for key, value in values.items()}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise UsageError(f"--set {setting} has no value.", "Write KEY=VALUE.", f"Parameters of {method}: {', '.join(module.Params.model_fields)}")
        values[canonical(module.Params, key)] = toml_value(text)
    for option, value in options.items():
        if value is not None:
            check_own(method, module.Params, option, value)
            values[OWN_OPTIONS[option]] = value
    read_params(module.Params, values, f"{method} parameters")
    return values


def check_own(method: str, params: Any, option: str, value: Any) -> None:
    """Refuse an option that the method has no parameter for, naming what it has instead."""
    if OWN_OPTIONS[option] in params.model_fields:
        return
    if option == "steps" and "iterations" in params.model_fields:
        raise UsageError(f"{method} has no --steps: it takes iterations.", "", f"Try --set iterations={value}")
    able = [name for name in methods.names() if OWN_OPTIONS[option] in methods.load(name).Params.model_fields]
    raise UsageError(f"{method} has no --{option}.", f"It is for {', '.join(able)}.", f"Parameters of {method}: {', '.join(params.model_fields)}")


def show_methods() -> None:
    """Each method with its parameters, defaults and what they mean."""
    for name in methods.names():
        module = methods.load(name)
        echo(f"{name}: {module.SUMMARY}")
        for key, field in module.Params.model_fields.items():
            echo(f"    {key} = {field.default!r}: {field.description}")
