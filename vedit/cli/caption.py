"""`vedit caption`: say what clips show."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, complain, echo, examples, print_json
from vedit.errors import PartialFailure, UsageError, VeditError

EXAMPLES = (
    ("vedit caption clip.gif", "a drawn scene, by the embedded judge"),
    ("vedit caption clip.gif --json", "with a caption for each frame looked at"),
    ("vedit caption clips/*.gif --write-txt", "NAME.txt beside each clip: a data set to train on"),
)


@click.command(
    help=f"""Say what clips show, in a sentence each.

The sentence can be the --source of an edit or the caption of a clip to train on.

{examples(EXAMPLES)}"""
)
@click.argument("inputs", nargs=-1, metavar="INPUT...")
@click.option("--model", default="shapes", metavar="NAME", help="The captioner: shapes reads drawn scenes.")
@click.option(
    "--detail",
    type=click.Choice(["short", "detailed"]),
    default="short",
    help="How much is said.",
)
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Look at so many frames at most.")
@click.option("--every", type=click.IntRange(1), metavar="N", help="Look at every N-th frame.")
@click.option("--write-txt", is_flag=True, help="Write NAME.txt beside each clip.")
@click.option("-y", "--overwrite", is_flag=True, help="Replace a NAME.txt that says something else.")
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per clip.")
@click.option("-q", "--quiet", is_flag=True, help="No warnings.")
def command(
    inputs: tuple[str, ...],
    model: str,
    detail: str,
    frames: int | None,
    every: int | None,
    write_txt: bool,
    overwrite: bool,
    device: str,
    as_json: bool,
    quiet: bool,
) -> None:
    from vedit.jobs.caption.request import CaptionRequest
    from vedit.jobs.caption.run import run
    from vedit.jobs.extras import need

    if not inputs:
        raise UsageError("no clip named.", "", "Example: vedit caption clip.gif")
    need("diffusion")
    request = CaptionRequest.from_json(
        {
            "inputs": list(inputs),
            "model": model,
            "detail": detail,
            "frames": frames,
            "every": every,
            "write_txt": write_txt,
            "overwrite": overwrite,
            "device": device,
        },
        "caption",
    )
    failed = []
    for name, told in run(request, Voice(quiet)):
        if isinstance(told, VeditError):
            if len(inputs) == 1:
                raise told
            complain(told)
            failed.append(name)
        elif as_json:
            print_json(told)
        else:
            echo(told["caption"] if len(inputs) == 1 else f"{name}: {told['caption']}")
    if failed:
        raise PartialFailure(f"{len(failed)} of {len(inputs)} clips have no caption: {', '.join(failed)}.")
