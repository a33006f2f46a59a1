"""What is in a video file, as `vedit probe` tells it."""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

from vedit.errors import InputError
from vedit.media.formats import names_pictures
from vedit.media.limits import Limits


def probe_video(name: str, start: bytes = b"") -> dict[str, Any]:
    """The facts of a video, a picture or a frame stream under the schema of `vedit probe --json`.

    width, height: as a player shows it, after sample aspect and rotation; "coded" has the stored size.
    images, duration_s and rate come from a walk over all packets, not from the header.
    """
    from vedit.media.open import sniff

    kind = sniff(start)
    if kind == "picture":
        return probe_frames(name, kind)
    return _probe_movie(name, start)


def _probe_movie(name: str, start: bytes) -> dict[str, Any]:
    from vedit.media.video.ffmpeg import measure, probe, refuse_playlist

    refuse_playlist(start)
    with open(name, "rb") as file:
        facts = probe(file)
        video, audio = facts.video, facts.audio
        if video is None and audio is None:
            raise InputError("the file holds neither video nor sound that ffmpeg can read.")
        timeline = measure(file, video.fps) if video else None
    duration = timeline.duration_s if timeline and timeline.images else facts.duration_s
    width, height = video.shown if video else (0, 0)
    return {
        "file": name,
        "format": facts.format,
        "version": None,
        "width": width,
        "height": height,
        "images": timeline.images if timeline else 0,
        "duration_s": _number(duration),
        "loop": None,
        "rate": {
            "avg": _number(Fraction(timeline.images) / timeline.duration_s)
            if timeline and timeline.duration_s
            else None,
            "const": bool(timeline and timeline.rate),
        },
        "transparency": bool(video and video.has_alpha),
        "video": video
        and {
            "codec": video.codec,
            "pix_fmt": video.pix_fmt,
            "coded": f"{video.width}x{video.height}",
            "sar": f"{video.sar.numerator}:{video.sar.denominator}",
            "rotation": video.rotation,
            "color": video.color or None,
        },
        "audio": audio and {"codec": audio.codec, "rate": audio.rate, "channels": audio.channels},
        "bytes": os.path.getsize(name),
        "damage": [],
        "trailing_bytes": 0,
    }


def probe_frames(name: str, kind: str, limits: Limits = Limits()) -> dict[str, Any]:
    """An animated PNG or WebP, a still picture, or a folder of pictures: told by reading it through."""
    from vedit.media.open import open_clip
    from vedit.media.options import ReadOptions

    damage: list[str] = []
    clip, frames, _ = open_clip(name, ReadOptions(limits=limits), warn=damage.append)
    images = ticks = 0
    durations: set[int] = set()
    transparency = False
    for frame in frames:
        images += 1
        ticks += frame.duration
        durations.add(frame.duration)
        transparency = transparency or frame.kind == "rgba"
    seconds = ticks * clip.timebase
    return {
        "file": name,
        "format": kind,
        "version": None,
        "width": clip.width,
        "height": clip.height,
        "images": images,
        "duration_s": _number(seconds),
        "loop": clip.loop,
        "rate": {"avg": _number(images / seconds) if seconds else None, "const": len(durations) == 1},
        "transparency": transparency,
        "bytes": _bytes_of(name),
        "damage": damage,
        "trailing_bytes": 0,
    }


def _bytes_of(name: str) -> int:
    """The size of a file, or of all files in a folder or of a pattern."""
    if not os.path.isdir(name):
        from vedit.media.sequence import listed

        return sum(os.path.getsize(file) for file in (listed(name) if names_pictures(name) else [name]))
    return sum(entry.stat().st_size for entry in os.scandir(name) if entry.is_file())


def _number(value: Fraction | None) -> float | None:
    return None if value is None else round(float(value), 6)
