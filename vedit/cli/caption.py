"""`vedit caption`: say what clips show."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, complain, echo, examples, print_json
from vedit.errors import PartialFailure, UsageError, VeditError

EXAMPLES = (
    ("vedit caption clip.gif", "a drawn scene, by the embedded judge"),
    ("vedit caption clip.gif --json", "with a caption for each frame looked at"),
    ("vedit caption clips/*.gif --write-txt", "NAME.txt beside each clip: a data set to train on"),
    ("vedit caption clips/*.mp4 --model florence2 -o jobs.csv", "a list of clips with what they show"),
    ("vedit caption jobs.csv -o told.csv --model smolvlm2", "the rows of a list that do not say it yet"),
    (
        "vedit caption clip.mp4 --base-url http://127.0.0.1:8080/v1 --remote-model qwen3-vl",
        "a model that a server of one's own runs, such as llama-server",
    ),
)


@click.command(
    help=f"""Say what clips show, in a sentence each.

The sentence can be the --source of an edit or the caption of a clip to train on. An INPUT is a clip, a
folder of pictures or of clips, or a list (CSV, JSON lines) that names clips under input, video or file. What
a network or a service says is kept clip by clip (vedit cache list): the same call goes on where it was
stopped.

{examples(EXAMPLES)}"""
)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option(
    "--model",
    metavar="NAME[:ID]",
    help=(
        "shapes reads drawn scenes and is the default; blip, florence2, smolvlm2 and hub:ID run a model of"
        " the Hub, or of the folder behind the colon."
    ),
)
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a Hub model.")
@click.option(
    "--detail",
    type=click.Choice(["short", "detailed", "more"]),
    default="short",
    help="How much is said.",
)
@click.option(
    "--by",
    type=click.Choice(["clip", "medoid"]),
    help=(
        "Look at all frames at once, or caption each and take the caption that is most like the others; what"
        " the model does best by default."
    ),
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Look at so many frames at most.")
@click.option(
    "--every",
    type=click.IntRange(1),
    metavar="N",
    help="Look at every N-th frame; frames are spread over a real clip by default.",
)
@click.option("--write-txt", is_flag=True, help="Write NAME.txt beside each clip.")
@click.option(
    "-o", "--output", metavar="LIST", help="Write the clips with their captions (.csv, .tsv, .jsonl)."
)
@click.option(
    "-y",
    "--overwrite",
    is_flag=True,
    help="Replace the list, and a NAME.txt that says something else.",
)
@click.option(
    "--redo",
    is_flag=True,
    help="Caption what has a caption, too: rows of a list, and clips whose caption is kept.",
)
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype",
    type=click.Choice(["auto", "fp32", "fp16", "bf16"]),
    default="auto",
    help="Precision of the network.",
)
@click.option(
    "--base-url", metavar="URL", help="Ask a hosted model here; frames are sent there, and nowhere else."
)
@click.option("--remote-model", metavar="NAME", help="What the service calls its model.")
@click.option(
    "--key-env", metavar="NAME", help="Variable that holds the API key; VEDIT_REMOTE_KEY by default."
)
@click.option(
    "--timeout",
    type=click.FloatRange(1),
    default=120,
    show_default=True,
    metavar="S",
    help="Longest wait for an answer of the service.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per clip.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
def command(inputs: tuple[str, ...], as_json: bool, quiet: bool, **given: Any) -> None:
    from vedit.jobs.caption.request import CaptionRequest
    from vedit.jobs.caption.run import run
    from vedit.jobs.extras import need

    if not inputs:
        raise UsageError("no clip named.", "", "Example: vedit caption clip.gif")
    request = CaptionRequest.from_json({"inputs": list(inputs), **given}, "caption")
    if request.named_model != "remote":
        need("diffusion")
    count = 0
    failed = []
    for name, told in run(request, Voice(quiet)):
        count += 1
        is_one = inputs == (name,)
        if isinstance(told, VeditError):
            if is_one:
                raise told
            complain(told)
            failed.append(name)
        elif as_json:
            print_json(told)
        else:
            echo(told["caption"] if is_one else f"{name}: {told['caption']}")
    if failed:
        raise PartialFailure(f"{len(failed)} of {count} clips have no caption: {', '.join(failed)}.")
