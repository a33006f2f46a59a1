"""`vedit scene`: a caption becomes a drawn clip, and an edit its exact answer."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, examples, print_json
from vedit.errors import UsageError

EXAMPLES = (
    ('vedit scene "a red circle moving left on a grey background" -o clip.gif', "eight frames of 64x64"),
    (
        'vedit scene "a red circle on a grey background" -o clip.gif --truth "a blue circle" -t truth.gif',
        "a clip and the true result of an edit",
    ),
    (
        'vedit scene "a star" --seed 7 --record scene.json -o star.gif',
        "keep the record; the same seed draws the same scene",
    ),
)


@click.command(
    help=f"""Draw a clip from a caption.

The caption is made of the words that the embedded model knows: a size, a texture, a colour, a
shape, a motion, a background pattern and colour. What it leaves out is drawn from the seed;
size, texture and pattern have defaults (medium, plain, plain). --truth names fields to change:
everything else stays as it is, to the pixel.

{examples(EXAMPLES)}"""
)
@click.argument("caption", required=False)
@click.option("-o", "--output", metavar="FILE", help="Write the clip here; - is standard output.")
@click.option("--truth", metavar="CAPTION", help="The caption of an edit of this scene.")
@click.option("-t", "--truth-output", metavar="FILE", help="Write the true result of the edit here.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Draws place, path and everything that no word names.",
)
@click.option(
    "--frames", type=click.IntRange(1, 1000), default=8, show_default=True, help="Frames over the same path."
)
@click.option(
    "--grain",
    type=click.FloatRange(0, 0.1),
    default=None,
    metavar="SIGMA",
    help="Film grain; by the seed, 0 to 0.02, when not given.",
)
@click.option("--record", metavar="FILE", help="Write the scene's record as JSON.")
@click.option("--from-record", metavar="FILE", help="Draw the scene of a record instead of a caption.")
@click.option(
    "--to",
    type=click.Choice(["gif", "nut", "y4m", "rgb24", "rgba"]),
    default=None,
    help="Output format when the name does not tell.",
)
@click.option("-y", "--overwrite", is_flag=True, default=None, help="Replace outputs that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print the record as one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="Do not say what was written.")
def command(
    caption: str | None,
    output: str | None,
    truth: str | None,
    truth_output: str | None,
    seed: int,
    frames: int,
    grain: float | None,
    record: str | None,
    from_record: str | None,
    to: str | None,
    overwrite: bool | None,
    as_json: bool,
    quiet: bool,
) -> None:
    from vedit.jobs.draw_scene import draw_scene
    from vedit.media.atomic import check_output, refuse_twice
    from vedit.media.formats import output_format

    if (caption is None) == (from_record is None):
        raise UsageError("give a caption or --from-record, one of them.", "", f"Example: {EXAMPLES[0][0]}")
    if truth_output and not truth and not from_record:
        raise UsageError("-t needs --truth, the caption of the edit.", "", f"Example: {EXAMPLES[1][0]}")
    if truth and not truth_output:
        raise UsageError("--truth needs -t, the file for the true result.", "", f"Example: {EXAMPLES[1][0]}")
    if not (output or truth_output or record or as_json):
        raise UsageError("no output named.", "", f"Example: {EXAMPLES[0][0]}")
    refuse_twice((("-o", output), ("-t", truth_output), ("--record", record)))
    for path in (output, truth_output):
        if path:
            output_format(path, to)
    for path in (output, truth_output, record):
        if path:
            check_output(path, (from_record,) if from_record else (), overwrite)
    drawn = draw_scene(
        caption,
        seed=seed,
        truth=truth,
        grain=grain,
        from_record=from_record,
        frames=frames,
        to=to,
        output=output,
        truth_output=truth_output,
        record=record,
    )
    written = [path for path in (output, truth_output, record) if path and path != "-"]
    if written:
        Voice(quiet).say(f"{' and '.join(written)}: {frames} frames of 64x64")
    if as_json:
        print_json(drawn)
