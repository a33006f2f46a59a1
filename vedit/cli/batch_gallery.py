"""`vedit batch gallery`: what a batch made, as a page or a contact sheet."""

from __future__ import annotations

import click

from vedit.cli.common import complain, examples
from vedit.errors import UsageError

EXAMPLES = (
    ("vedit batch gallery out", "out/gallery.html, with posters of all that is done"),
    ("vedit batch gallery out --standalone -o page.html", "one file to mail, up to 50 MB of pictures"),
    ("vedit batch gallery out --scores scores.json", "sorted by what vedit score --json says, if you like"),
    ("vedit batch gallery out --sheet sheet.png", "a picture: a row per clip, a column per variant"),
)


@click.command(
    help=f"""Show what a batch made as a page: clips in rows, what was varied in columns.

Pictures play under the pointer, a row in step. A click shows an edit beside its source, what
differs from its neighbour, and the line that makes it again. Failed edits tell why. The page
works from the file system, and loads nothing from elsewhere; vedit batch run keeps it fresh.

{examples(EXAMPLES)}"""
)
@click.argument("out", metavar="DIR")
@click.option("-o", "--output", "path", metavar="FILE", help="The page; DIR/gallery.html by default.")
@click.option("--standalone", is_flag=True, help="Put the pictures into the page, up to 50 MB.")
@click.option(
    "--scores", metavar="FILE", help="Numbers of vedit score --index DIR/index.toml --json FILE, to sort by."
)
@click.option("--sheet", metavar="FILE", help="Write a contact sheet (PNG) instead of a page.")
def command(out: str, path: str | None, standalone: bool, scores: str | None, sheet: str | None) -> None:
    if sheet is not None and (standalone or path or scores):
        raise UsageError("--sheet writes a picture, and -o, --standalone and --scores are for a page.")
    from vedit.jobs.batch.gallery import Gallery, read_scores
    from vedit.jobs.batch.status import read

    plan = read(out)
    plan.state.make()
    if sheet is not None:
        from vedit.jobs.batch.sheet import write_sheet

        write_sheet(plan, sheet)
        complain(f"{sheet}: {len(plan.items)} edits")
        return
    gallery = Gallery(plan, path, *(read_scores(scores) if scores is not None else ()))
    gallery.make_thumbs()
    gallery.write(is_standalone=standalone)
    complain(f"{gallery.path}: {len(plan.done)} done, {len(plan.failed)} failed")
