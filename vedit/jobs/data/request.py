"""What data sets are to be: one request per kind, checked by `plan`, made by `plan(request).run(sink)`."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from vedit.data.folder import Limits
from vedit.errors import UsageError, option
from vedit.jobs.data import sets
from vedit.jobs.data.build import Summary
from vedit.jobs.data.read import Cut
from vedit.jobs.edit.before import parse_size
from vedit.jobs.request import Request
from vedit.jobs.sink import Sink
from vedit.media.atomic import check_output
from vedit.media.formats import output_format
from vedit.media.limits import fraction
from vedit.media.window import usable_cores

SYNTH = "vedit data moving-mnist --synth 2000 digits"
FONT = "font"
LARGEST_RATE = 50  # frames a second: the fastest that browsers play a GIF


@dataclass(frozen=True, kw_only=True)
class SetRequest(Request):
    """What all data sets are asked.

    folder: where. to: "gif" or "mp4". limit: clips at most. jobs: threads, None for one per core.
    overwrite: make it anew where the folder holds one with other settings.
    """

    folder: str
    to: str = "gif"
    limit: int | None = None
    jobs: int | None = None
    overwrite: bool = False

    def check(self) -> None:
        """Raise UsageError for what does not go together; nothing is read."""

    @abstractmethod
    def make(self, run: sets.Run) -> Summary:
        """Make the data set, or the rest of it."""


@dataclass(frozen=True, kw_only=True)
class CutRequest(SetRequest):
    """What sets of clips from files are asked besides.

    frames: of each clip, at even times; None for all. size: "64" for a square cut from the middle,
    "64x48" without cutting. fps: "8", "12.5", "30000/1001"; None for the time that frames stand for.
    """

    frames: int | None = None
    size: str | None = None
    fps: str | None = None

    def check(self) -> None:
        self.cut()

    def cut(self) -> Cut:
        """Which frames are taken and how they are fitted. Raises UsageError."""
        return Cut(frames=self.frames, size=parse_size(self.size), fps=rate_of(self.fps))


@dataclass(frozen=True, kw_only=True)
class FolderRequest(CutRequest):
    """Clips of a folder that pass limits, each once, with captions: see `app.data.sets.own_folder`."""

    source: str
    min_side: int = 32
    min_frames: int = 2
    min_seconds: float = 0.0
    max_seconds: float | None = None
    max_uneven: float = 0.1
    keep_uneven: bool = False
    keep_doubles: bool = False
    caption: str | None = None
    no_name_captions: bool = False

    def check(self) -> None:
        if self.max_seconds is not None and self.max_seconds < self.min_seconds:
            raise UsageError(
                f"{option('max_seconds', f'{self.max_seconds:g}')} is below"
                f" {option('min_seconds', f'{self.min_seconds:g}')}."
            )
        super().check()

    def make(self, run: sets.Run) -> Summary:
        uneven = None if self.keep_uneven else self.max_uneven
        limits = Limits(self.min_side, self.min_frames, uneven, self.min_seconds, self.max_seconds)
        captions = sets.Captions(self.caption, not self.no_name_captions)
        return sets.own_folder(self.source, run, self.cut(), limits, captions, keep_doubles=self.keep_doubles)


@dataclass(frozen=True, kw_only=True)
class ListedRequest(CutRequest):
    """Clips that a table names. source: the table. clips: the folder that holds them."""

    source: str
    clips: str
    id_column: str = "id"
    caption_column: str = "caption"

    def make(self, run: sets.Run) -> Summary:
        return sets.own_table(
            self.source,
            self.clips,
            run,
            self.cut(),
            id_column=self.id_column,
            caption_column=self.caption_column,
        )


@dataclass(frozen=True, kw_only=True)
class MsrVttRequest(CutRequest):
    """MSR-VTT. captions: "first", "all" or "random", drawn by the seed. split: only its clips."""

    annotation: str
    clips: str
    captions: str = "first"
    split: str | None = None
    seed: int = 0
    i_have_rights: bool = False

    def check(self) -> None:
        if not self.i_have_rights:
            raise UsageError(
                "MSR-VTT's clips are third-party web videos; no page seen states a licence.",
                "Use them only if you may.",
                f"If you may, add {option('i_have_rights')}",
            )
        super().check()

    def make(self, run: sets.Run) -> Summary:
        return sets.msr_vtt(
            self.annotation,
            self.clips,
            run,
            self.cut(),
            captions=self.captions,
            split=self.split,
            seed=self.seed,
        )


@dataclass(frozen=True, kw_only=True)
class BenchmarkRequest(CutRequest):
    """V2VBench, or a list like it. listing: the list, None for the only one of the source. one_edit: of each
    clip, drawn by the seed.
    """

    source: str
    listing: str | None = None
    stride: int | None = None
    one_edit: bool = False
    seed: int = 0

    def make(self, run: sets.Run) -> Summary:
        cut = self.cut()._replace(stride=self.stride)
        return sets.benchmark(self.source, self.listing, run, cut, one_edit=self.one_edit, seed=self.seed)


@dataclass(frozen=True, kw_only=True)
class MovingMnistRequest(SetRequest):
    """Digits that fly: of the public file `source`, or `synth` clips drawn by its rule.

    digits: "font", or MNIST's file. count: digits in a clip. scale: pixels per pixel of 64x64.
    """

    source: str | None = None
    synth: int | None = None
    digits: str = FONT
    count: int | None = None
    straight: bool = False
    seed: int = 0
    frames: int | None = None
    scale: int = 1
    caption: str | None = None

    def check(self) -> None:
        if self.synth is None and self.source is None:
            raise UsageError(
                f"moving-mnist needs a file and an output folder, or {option('synth', 'N')} and an output"
                " folder.",
                "",
                f"Example: {SYNTH}",
            )
        if self.synth is not None and self.source is not None:
            raise UsageError(
                f"{option('synth')} takes the output folder and no file.", "", f"Example: {SYNTH}"
            )
        if self.synth is not None and self.caption is not None:
            raise UsageError(
                f"{option('caption')} is for the file, which has no labels.",
                "Drawn clips have exact captions.",
                f"Leave out {option('caption')}",
            )
        if self.synth is None and (self.straight or self.digits != FONT):
            raise UsageError(
                f"{option('straight')} and {option('digits')} are for clips that are drawn.",
                "",
                f"Add {option('synth', 'N')}, and leave out the file",
            )

    def make(self, run: sets.Run) -> Summary:
        if self.synth is None:
            assert self.source is not None, "check saw it"
            return sets.moving_mnist_file(
                self.source,
                run,
                frames=self.frames,
                scale=self.scale,
                caption=self.caption,
                count=self.count or 2,
            )
        return sets.moving_mnist_drawn(
            self.synth,
            run,
            seed=self.seed,
            frames=self.frames or 20,
            scale=self.scale,
            count=self.count or 1,
            straight=self.straight,
            digits=None if self.digits == FONT else self.digits,
        )


@dataclass(frozen=True)
class DataPlan:
    """A data set that will be made."""

    request: SetRequest

    def __str__(self) -> str:
        at_most = f", {self.request.limit} clips at most" if self.request.limit else ""
        return f"make a data set of {self.request.to} clips in {self.request.folder}{at_most}"

    def run(self, sink: Sink) -> Summary:
        """Make it, or the rest of it.

        Raises as `app.data.build.build` does; clips that cannot be read are in the summary.
        """
        request = self.request
        run = sets.Run(
            Path(request.folder),
            request.to,
            request.limit,
            request.jobs or usable_cores(),
            request.overwrite,
            sink.warn,
            sink.steps,
        )
        return request.make(run)


def plan(request: SetRequest) -> DataPlan:
    """Check what is asked for. Raises UsageError."""
    request.check()
    return DataPlan(request)


@dataclass(frozen=True, kw_only=True)
class ClipRequest(Request):
    """One clip out of a video, every `stride`-th of its frames from `start` on; `caption` goes into NAME.txt
    beside it.
    """

    source: str
    output: str
    start: int = 0
    frames: int = 8
    stride: int = 1
    size: str = "512"
    offset: float = 0.0
    fps: str = "8"
    caption: str | None = None
    overwrite: bool = False


def cut_clip(request: ClipRequest) -> dict[str, Any]:
    """Cut the clip and tell what was made.

    Raises UsageError, OutputError before, InputError while reading.
    """
    if request.output == "-":
        raise UsageError("data clip writes a file.", "", "Name it, such as clip.gif")
    output_format(request.output)
    for path in (
        request.output,
        *([str(Path(request.output).with_suffix(".txt"))] if request.caption else []),
    ):
        check_output(path, (request.source,), True if request.overwrite else None)
    cut = Cut(
        frames=request.frames,
        stride=request.stride,
        first=request.start,
        size=parse_size(request.size),
        offset=request.offset,
        fps=rate_of(request.fps),
    )
    return sets.one_clip(request.source, request.output, cut, request.caption)


def rate_of(text: str | None) -> Fraction | None:
    """Frames a second, such as 8, 12.5 or 30000/1001. Raises UsageError."""
    try:
        rate = None if text is None else fraction(text)
    except ValueError:
        rate = Fraction(0)
    if rate is not None and not 0 < rate <= LARGEST_RATE:
        raise UsageError(
            f"{option('fps', text)} is not a rate.",
            f"Give frames a second up to {LARGEST_RATE}, the fastest that browsers play a GIF, such as 8,"
            " 12.5 or 30000/1001.",
        )
    return rate
