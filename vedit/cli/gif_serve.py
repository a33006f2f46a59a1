"""`vedit gif serve`: the editor in a browser."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from vedit.cli.common import Voice, examples, may_overwrite, print_json, replacing
from vedit.errors import CheckFailed, InputError, UsageError

EXAMPLES = (
    ("vedit gif serve in.gif", "open the page in a browser, with this clip"),
    ("vedit gif serve in.gif -o out.gif", "a step of a script: it goes on when the page says Done"),
    ("vedit gif serve *.gif -O done", "several clips, saved into a folder"),
    ("vedit gif serve --port 8000 --no-browser", "on another machine, as told above"),
)
SIZES = {"": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, such as 500M or 2G."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        if isinstance(value, int):
            return value
        text = value.strip().lower().removesuffix("b").removesuffix("i")
        unit = text[-1:] if text[-1:] in ("k", "m", "g", "t") else ""
        number = text.removesuffix(unit)
        if not (number.isascii() and number.isdigit() and len(number) < 16):
            self.fail(f"{value!r} is not a size such as 500M or 2G.", param, ctx)
        return int(number) * SIZES[unit]


@click.command(
    help=f"""Edit GIFs and films in a page of your browser.

What the page shows is the file that it downloads, and the command line that makes it stands below. The
server hears this machine alone, and whoever has the address, which holds a key.

With -o the page is a step of a script: Done writes the file and ends with exit code 0; a page that is
closed without it ends with 1. Ctrl-C ends it any time.

On another machine: ssh -L 8000:127.0.0.1:8000 HOST, there vedit gif serve --port 8000 --no-browser, and open
the address that it prints here. --origin names the address that a tunnel or proxy on another port gives it.

{examples(EXAMPLES)}"""
)
@click.argument("files", nargs=-1, metavar="[FILE]...")
@click.option(
    "-o", "--output", metavar="FILE", help="Write the result here when the page says Done, and end."
)
@click.option("-O", "--output-dir", metavar="DIR", help="Let the page save results into this folder.")
@replacing("Replace the file behind -o if it exists.")
@click.option("--preset", metavar="NAME", help="Begin with the stages of a preset (see: vedit presets list).")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port; 0 takes any free one."
)
@click.option("--no-browser", is_flag=True, help="Print the address, and open no browser.")
@click.option(
    "--origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Answer under this address too, of a tunnel or proxy.",
)
@click.option(
    "--max-upload", type=Bytes(), default="2G", metavar="SIZE", help="Largest file to receive (2G)."
)
@click.option("--cache", type=Bytes(), default="2G", metavar="SIZE", help="Disk for results, for undo (2G).")
@click.option(
    "--idle",
    type=click.FloatRange(0),
    default=0,
    metavar="MIN",
    help="End after so many minutes without a page.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what Done wrote and the command line as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but the address.")
def command(
    files: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    overwrite: bool | None,
    no_overwrite: bool,
    preset: str | None,
    port: int,
    no_browser: bool,
    origins: tuple[str, ...],
    max_upload: int,
    cache: int,
    idle: float,
    as_json: bool,
    quiet: bool,
) -> None:
    if output is not None and output_dir is not None:
        raise UsageError("-o and -O were given together.", "Give one of them.")
    for name in files:
        _refuse_unreadable(name)
    replaces = may_overwrite(overwrite, no_overwrite)
    _check_target(output, output_dir, files, replaces, as_json)
    from vedit.ui.session import Session
    from vedit.ui.shelf import Shelf

    shelf = Shelf(cache)
    try:
        session = Session(
            shelf,
            files,
            mode="file" if output is not None else "folder" if output_dir is not None else "",
            target=output or output_dir or "",
            preset=preset,
            max_upload=max_upload,
        )
        try:
            _serve(session, port, origins, no_browser, idle, Voice(quiet))
        finally:
            session.close()
    except BaseException:
        shelf.close()
        raise
    if session.ended is None and output is not None:
        raise CheckFailed(f"{output} was not written: the page was closed without Done.")
    if as_json and session.ended is not None:
        print_json(session.ended)


def _refuse_unreadable(name: str) -> None:
    if name == "-":
        raise UsageError("the page cannot read standard input.", "", "Name a file, or drop one on the page")
    if os.path.isdir(name):
        raise UsageError(
            f"{name} is a folder.", "The page takes files.", f"Example: vedit gif serve {name}/*.gif"
        )
    try:
        open(name, "rb").close()
    except (OSError, ValueError) as error:
        from vedit.errors import reason_of

        raise InputError(f"{name}: cannot read: {reason_of(error)}.") from None


def _check_target(
    output: str | None, folder: str | None, files: tuple[str, ...], replaces: bool | None, as_json: bool
) -> None:
    """Find what would be in the way of the result before anybody works on it."""
    from vedit.media.atomic import check_output, make_folder

    if output == "-" and as_json:
        raise UsageError("--json and the result would both go to standard output.", "", "Add -o FILE")
    if output is not None:
        check_output(output, files, replaces)
    if folder is not None:
        make_folder(folder)


def _serve(
    session: Any, port: int, origins: tuple[str, ...], no_browser: bool, idle: float, voice: Voice
) -> None:
    import secrets

    from vedit.ui.guard import Rules, names_of
    from vedit.ui.server import bind, serve

    try:
        names_of(port, origins)
    except ValueError as error:
        raise UsageError(
            f"--origin {' '.join(origins)}: {error}.",
            "It is what the address bar of the browser begins with.",
        ) from None
    listening = bind(port)
    port = listening.getsockname()[1]
    hosts, allowed = names_of(port, origins)
    rules = Rules(secrets.token_urlsafe(24), hosts, allowed, session.max_upload, session.shelf.room)
    address = f"http://127.0.0.1:{port}/{rules.key}/"

    def ready() -> None:
        sys.stderr.write(f"{address}\n")
        sys.stderr.flush()
        if not no_browser:
            _open(f"http://127.0.0.1:{port}/start/{rules.ticket.word}", voice)

    serve(session, rules, listening, idle_s=60 * idle, ends_alone=session.mode == "file", ready=ready)


def _open(address: str, voice: Voice) -> None:
    """Open a browser beside the server, which goes on meanwhile."""
    import threading
    import webbrowser

    # without a screen there are browsers of text alone, which would take the terminal and show nothing
    has_screen = sys.platform == "darwin" or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )

    def try_it() -> None:
        if not (has_screen and webbrowser.open(address)):
            voice.say("no browser could be opened: open the address above")

    threading.Thread(target=try_it, daemon=True).start()
