"""`vedit data folder`: clips of one's own as a data set."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import examples
from vedit.cli.data import cut_of, cut_options, run_of, set_options, tell
from vedit.errors import UsageError

EXAMPLES = (
    ("vedit data folder gifs OUT --size 64 --frames 10", "squares of 64 pixels, ten frames at even times"),
    ('vedit data folder clips OUT --caption "a street at night" --min-side 128', "one caption where no NAME.txt lies beside a clip"),
    ("vedit data folder clips OUT --size 256 --no-name-captions --max-seconds 8", "only clips with a caption file"),
)


@click.command(
    help=f"""Make a data set of the clips in a folder: good ones, each once, with captions.

Clips are GIF, WebP or video files, in folders too. Left out, with the reason in rejected.tsv: small
ones, stills, clips whose frames come at uneven times, and doubles (the largest of them stays).
The caption is NAME.txt beside the clip, else --caption, else the words of the file's name.
There is no downloader: what you may use is for you to know.

{examples(EXAMPLES)}"""
)
@click.argument("source", metavar="SRC")
@click.argument("folder", metavar="OUT")
@cut_options
@click.option("--min-side", type=click.IntRange(1), default=32, show_default=True, metavar="PX", help="Leave out clips with a shorter side.")
@click.option("--min-frames", type=click.IntRange(1), default=2, show_default=True, metavar="N", help="Leave out clips with fewer frames.")
@click.option("--min-seconds", type=click.FloatRange(0), default=0.0, metavar="S", help="Leave out shorter clips.")
@click.option("--max-seconds", type=click.FloatRange(0, min_open=True), metavar="S", help="Leave out longer clips.")
@click.option(
    "--max-uneven", type=click.FloatRange(0, 1), default=0.1, show_default=True, metavar="SHARE", help="Share of frames with another delay that is borne."
)
@click.option("--keep-uneven", is_flag=True, help="Do not look at delays.")
@click.option("--keep-doubles", is_flag=True, help="Do not look for doubles.")
@click.option("--caption", metavar="TEXT", help="Caption of clips without NAME.txt.")
@click.option("--no-name-captions", is_flag=True, help="Do not make captions from file names: leave such clips out.")
@set_options
def command(source: str, folder: str, keep_uneven: bool, max_uneven: float, **given: Any) -> None:
    from vedit.app.data.sets import Captions, own_folder
    from vedit.data.folder import Limits

    if given["max_seconds"] is not None and given["max_seconds"] < given["min_seconds"]:
        raise UsageError(f"--max-seconds {given['max_seconds']:g} is below --min-seconds {given['min_seconds']:g}.")
    run, voice = run_of(folder, given)
    limits = Limits(given["min_side"], given["min_frames"], None if keep_uneven else max_uneven, given["min_seconds"], given["max_seconds"])
    captions = Captions(given["caption"], not given["no_name_captions"])
    summary = own_folder(source, run, cut_of(given), limits, captions, keep_doubles=given["keep_doubles"])
    tell(summary, voice, given["as_json"])
