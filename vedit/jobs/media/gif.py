"""Stages over clips: what is asked, what will be done.

for outcome in plan(GifRequest(inputs=("in.gif",), stages="crop:left=10%; speed:2", output="out.gif")).run():
    print(outcome.result)
"""

from collections.abc import Mapping
from typing import NamedTuple

from vedit.jobs.batch.files import Item, name_outputs
from vedit.jobs.media.chain import Spec, build_chain, parse_chain
from vedit.jobs.media.files import FilesPlan, cores_for, limits_of
from vedit.jobs.request import Request
from vedit.jobs.sink import Quiet, Sink
from vedit.media.light import DEFAULT_CURVE
from vedit.media.options import QuantiseOptions, ReadOptions, WriteOptions
from vedit.media.run import Report, Settings, run_file


class GifFields(NamedTuple):
    """The fields of `GifRequest`."""

    inputs: tuple[str, ...] = ("-",)
    stages: str | tuple[tuple[str, Mapping[str, str]], ...] = ()
    output: str | None = None
    output_dir: str | None = None
    in_place: bool = False
    suffix: str = ""
    overwrite: bool | None = None
    to: str | None = None
    loop: str | None = None
    strip: str | None = None
    comment: str | None = None
    palette: str = "auto"
    colors: int = 256
    dither: str = "none"
    tonemap: str = DEFAULT_CURVE
    strict: bool = False
    limits: tuple[str, ...] = ()
    jobs: int | None = None
    dry_run: bool = False


class GifRequest(GifFields, Request):
    """Stages over one clip or many.

    inputs: files, folders, "-" for standard input. stages: a line as `parse_chain` reads it, or what it
    gives: names with the texts of their options; a single command is a chain of one. output, or output_dir
    with suffix, or in_place: where results go, standard output by default. overwrite: replace outputs that
    exist; False leaves them, None lets the face decide. to: format, by the output's name by default.
    loop, strip, comment: as the stage metadata has them, behind the others. palette, colors, dither,
    tonemap, strict: as `QuantiseOptions` and `ReadOptions` have them. limits: KEY=N. jobs: threads.
    dry_run: write nothing.
    """

    @property
    def specs(self) -> list[Spec]:
        """All stages with the texts of their options."""
        asked = parse_chain(self.stages) if isinstance(self.stages, str) else self.stages
        marks = {"loop": self.loop, "strip": self.strip, "comment": self.comment}
        given = {name: text for name, text in marks.items() if text is not None}
        specs = [(name, dict(texts)) for name, texts in asked]
        return [*specs, ("metadata", given)] if given else specs


def plan(request: GifRequest, sink: Sink = Quiet(), *, to_terminal: bool = False) -> FilesPlan:
    """Check the stages, and pair inputs with outputs.

    to_terminal: standard output is a terminal, which takes no clip. Raises VeditError.
    """
    build = build_chain(request.specs)  # a wrong option is found before any input is opened
    items = name_outputs(
        request.inputs, request.output, request.output_dir, request.in_place, request.suffix, request.to,
        request.overwrite, is_stdout_tty=to_terminal and not request.dry_run,
        makes_folders=not request.dry_run, say=sink.warn,
    )  # fmt: skip
    read = ReadOptions(limits=limits_of(request.limits), strict=request.strict, tonemap=request.tonemap)
    settings = Settings(
        write=WriteOptions(format=request.to),
        quantise=QuantiseOptions(request.palette, request.colors, request.dither),
    )

    def work(item: Item, settings: Settings) -> Report:
        return run_file(item.input, item.output, build, settings, read, request.dry_run)

    return FilesPlan(items, work, settings, cores_for(request.jobs))
