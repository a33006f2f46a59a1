"""`vedit data edit-pairs`: clips before and after an edit, with instructions, to train an editor on."""

from __future__ import annotations

from typing import Any

import click

from vedit.cli.common import Voice, examples, print_json, voice_options
from vedit.data.kinds_of_pairs import CONTROLS, KINDS
from vedit.errors import UsageError

EXAMPLES = (
    (
        "vedit data edit-pairs transition --synth 100 OUT",
        "draw 100 pairs whose edit begins at a time; no download",
    ),
    (
        "vedit data edit-pairs inverse clips OUT --controls edges,gray",
        "controls of your own clips, both ways",
    ),
    ("vedit data edit-pairs lift pictures.jsonl OUT --frames 9", "pairs of pictures as clips along one path"),
    ("vedit data edit-pairs continuation captions.jsonl OUT", "what comes next, told as an instruction"),
    (
        (
            "vedit data edit-pairs expert clips OUT --command 'mytool {input} {output} {instruction}'"
            ' --instruction "make it snow" --expert mytool-2'
        ),
        "through an editor of your own",
    ),
)


@click.command(
    help=f"""Make pairs of clips, before and after an edit, to train an instruction editor on.

inverse: a control signal of a clip (edges, gray, blur, small), both ways. lift: pairs of pictures, as
one frame and as two clips along the same smooth path. continuation: from clips with captions in time,
what was before and what comes, the caption as an instruction. transition: the source until a time and
the target from there on, with the mask that says so. expert: what an editor of yours makes of your
clips, called by its command line.

With --synth, scenes are drawn instead, with their true edit, several wordings, a mask and a reference
picture. OUT holds pairs.jsonl (docs/data.md) and the clips; vedit train --method easyv2v trains on it.
The same call goes on where it was stopped.

{examples(EXAMPLES)}"""
)
@click.argument("kind", metavar="|".join(KINDS))
@click.argument("source", required=False, metavar="[SOURCE]")
@click.argument("folder", required=False, metavar="OUT")
@click.option("--synth", type=click.IntRange(1), metavar="N", help="Draw N scenes instead of reading files.")
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of everything that is drawn."
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    default=9,
    show_default=True,
    metavar="N",
    help="Of drawn and lifted clips.",
)
@click.option(
    "--controls",
    metavar="A,B",
    default=",".join(CONTROLS),
    show_default=True,
    help="Of inverse.",
)
@click.option(
    "--ramp", type=click.IntRange(0), default=2, show_default=True, metavar="N",
    help="Frames that a transition takes at most; 0 cuts.",
)  # fmt: skip
@click.option(
    "--command", "command_line", metavar="TEXT", help="Of expert: your editor, run without a shell."
)
@click.option("--expert", metavar="NAME", help="What the records call it; its first word by default.")
@click.option(
    "--instruction",
    "instructions",
    multiple=True,
    metavar="TEXT",
    help="Of expert: what it is told; repeatable.",
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(0, min_open=True), default=600.0, show_default=True,
    metavar="S", help="Seconds that the expert may take for a clip.",
)  # fmt: skip
@click.option(
    "--licence", default="unstated", show_default=True, metavar="TEXT", help="Of your clips, for the records."
)
@click.option(
    "--limit",
    type=click.IntRange(1),
    metavar="N",
    help="Pairs at most; a later call without it adds the rest.",
)
@click.option(
    "--to",
    type=click.Choice(["apng", "gif", "mp4"]),
    default="apng",
    show_default=True,
    help="Format of the clips; apng keeps every pixel.",
)
@click.option(
    "-y", "--overwrite", is_flag=True, help="Make them anew where OUT holds pairs with other settings."
)
@click.option("--json", "as_json", is_flag=True, help="Print what came of it as one JSON object.")
@voice_options()
def command(
    kind: str, source: str | None, folder: str | None, synth: int | None, controls: str,
    command_line: str | None,
    as_json: bool, quiet: bool, progress: str, **given: Any,
) -> None:  # fmt: skip
    if synth is not None and source is not None and folder is None:
        source, folder = None, source  # the only name is that of the folder
    if folder is None:
        raise UsageError(
            "edit-pairs needs a folder to write into.",
            "It takes a kind, what the pairs are made of or --synth N, and the folder.",
            f"Example: {EXAMPLES[0][0]}",
        )
    from vedit.jobs.extras import need

    need("diffusion")
    from vedit.jobs.data.pair_kinds import PairsRequest, make_pairs

    voice = Voice(quiet, progress)
    request = PairsRequest(
        kind=kind, source=source, folder=folder, synth=synth, command=command_line,
        controls=tuple(part.strip() for part in controls.split(",") if part.strip()), **given,
    )  # fmt: skip
    outcome = make_pairs(request, voice.warn, voice.steps)
    if as_json:
        print_json(outcome._asdict())
    else:
        voice.say(outcome.line)
    outcome.check()
