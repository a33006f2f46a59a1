"""What is in a clip, without decoding it: the facts behind `vedit probe`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

from vedit.errors import CheckFailed, InputError, VeditError
from vedit.jobs.request import Request
from vedit.media.frames import Palette
from vedit.media.gif.container import GifReader
from vedit.media.limits import Limits, environment_limits, parse_limits
from vedit.media.options import ReadOptions
from vedit.media.source import FileSource, source_of, without_pixels

Facts = dict[str, Any]


class ProbeFields(NamedTuple):
    """The fields of `ProbeRequest`."""

    inputs: tuple[str, ...] = ("-",)
    check: bool = False
    limits: tuple[str, ...] = ()


class ProbeRequest(ProbeFields, Request):
    """Clips to tell of. check: decode every image of a GIF too. limits: KEY=N."""


def run(request: ProbeRequest) -> Iterator[tuple[str, Facts | VeditError]]:
    """The facts of each input, or the error that reading it ended with."""
    limits = parse_limits(request.limits, environment_limits())
    for name in request.inputs:
        try:
            yield name, probe(name, check=request.check, limits=limits)
        except VeditError as error:
            yield name, error


def probe(
    name: str,
    *,
    check: bool = False,
    limits: Limits = Limits(),
) -> Facts:
    """The facts of one file under the stable schema of `vedit probe --json`.

    check: decode every image too, and list in "damage" what is wrong with its pixels. Raises InputError when
    it cannot be read at all.
    """
    try:
        with ExitStack() as stack:
            source = source_of(name, ReadOptions(limits=limits), stack)
            if isinstance(source, FileSource) and source.kind == "packed":
                return probe_gif(source, check)
            from vedit.media.probe import probe_frames, probe_video

            if not isinstance(source, FileSource):
                return probe_frames(name, "folder", limits)
            if source.name == "-":
                raise InputError("only GIF can be probed from a pipe.", "", "Save the video to a file first")
            return probe_video(name, start=source.start)
    except VeditError as error:
        raise error.in_file(name) from error.__cause__


def probe_gif(source: FileSource, check: bool) -> Facts:
    """Walk the blocks of a GIF; its pixels are decoded only under `check`."""
    limits = source.read.limits if check else without_pixels(source.read.limits)
    damage: list[str] = []
    if check:
        source.spool()
        source.scan(touches_pixels=True)
        source.rewind()
    reader = GifReader(
        source.take,
        source.name,
        b"" if check else source.start,
        limits=limits,
        keep_payload=check,
        warn=damage.append,
    )
    clip = reader.clip
    frames = reader.frames()
    if check:
        from vedit.media.gif.lzw import unpack

        frames = unpack(clip, frames, limits=limits, hurt=damage.append)
    delays, disposals = [], []
    local = interlaced = compressed = 0
    largest = len(clip.palette) if clip.palette else 0
    transparency = False
    comments = _comments(clip.blocks)
    for frame in frames:
        delays.append(frame.duration)
        disposals.append(frame.disposal)
        local += frame.palette is not None
        largest = max(largest, _colours(frame.palette))
        interlaced += frame.interlaced
        transparency = transparency or frame.transparent is not None
        comments += _comments(frame.before)
        compressed += frame.pixels if isinstance(frame.pixels, int) else 0
    comments += _comments(clip.tail)
    duration = sum(delays)
    return {
        "file": source.name,
        "format": "gif",
        "version": clip.container.version.decode("latin-1"),
        "width": clip.width,
        "height": clip.height,
        "images": len(delays),
        "duration_s": duration / 100,
        "loop": clip.loop,
        "rate": {
            "avg": round(100 * len(delays) / duration, 6) if duration else None,
            "const": len(set(delays)) == 1,
        },
        "delays_cs": delays,
        "palettes": {"global": _colours(clip.palette), "local": local, "max_colors": largest},
        "transparency": transparency,
        "disposals": disposals,
        "interlaced": interlaced,
        "comments": comments,
        "apps": [app.decode("latin-1") for app in reader.apps],
        "bytes": source.size if source.size is not None else reader.window.offset,
        "damage": damage,
        "trailing_bytes": reader.trailing_bytes,
    }


def _colours(palette: Palette | None) -> int:
    return len(palette) if palette else 0


def _comments(blocks: Any) -> list[str]:
    return [block.text for block in blocks if block.label == 0xFE]


def raise_if_damaged(facts: list[Facts]) -> None:
    """The answer of `--check`: CheckFailed (exit 1) when anything is damaged."""
    hurt = [entry["file"] for entry in facts if entry.get("damage")]
    if hurt:
        raise CheckFailed(
            f"damage found in {', '.join(hurt)}.", "", "To keep what is whole: vedit gif metadata IN -o OUT"
        )
