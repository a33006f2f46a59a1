"""Change how fast a clip plays; on a GIF only the delays change, and no image is lost."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from vedit.errors import UsageError, option
from vedit.media.frames import GIF_TIMEBASE, Block, Clip, Frame, Frames, Rect
from vedit.stages.options import Flag, Integer, Number, Option, Way, Ways

SUMMARY = "Play faster or slower, by exact delays; reverse; boomerang."
POSITIONAL = "factor"
EXAMPLES = (
    ("vedit gif speed 2 in.gif -o out.gif", "twice as fast"),
    ("vedit gif speed --fps 25 in.gif -o out.gif", "25 images a second"),
    ("vedit gif speed --duration 3.5 in.gif -o out.gif", "three and a half seconds in all"),
    ("vedit gif speed --boomerang in.gif -o out.gif", "forwards, then backwards"),
)
LONGEST_CS = 65535
BROWSER_DELAY_CS = 10  # what browsers play for a delay of 0 or 1

OPTIONS = (
    Option(
        "factor",
        Number(0.01, 100, is_log=True),
        "times as fast, 0.1 to 5 (with any 0.01 to 100)",
        "F",
        usual=(0.1, 5, 0.01),
    ),
    Option("delay", Integer(0, LONGEST_CS), "show every image this long", "CS", usual=(2, 200, 1)),
    Option("fps", Number(0.01, 100), "images per second", "R", usual=(1, 50, 1)),
    Option("duration", Number(0.01, 10**6), "length of the whole clip", "SECONDS", usual=(0.1, 60, 0.1)),
    Option("reverse", Flag(), "play backwards"),
    Option("boomerang", Flag(), "play forwards, then backwards"),
    Option("any", Flag(), "allow factors from 0.01 to 100"),
    Option(
        "min-delay",
        Integer(0, LONGEST_CS),
        "no delay below this; browsers slow down delays under 2",
        "CS",
        2,
        usual=(0, 20, 1),
    ),
    Option("raw-delays", Flag(), "take a delay of 0 or 1 literally instead of the 10 cs that browsers play"),
    Option(
        "drop", Flag(), "merge images rather than play too slowly, when delays would fall below the floor"
    ),
)


WAYS = (
    Ways(
        "how fast",
        (
            Way(("factor",), called="a factor"),
            Way(("delay",)),
            Way(("fps",)),
            Way(("duration",)),
        ),
        needs_one=False,
    ),
    Ways("which way", (Way(("reverse",)), Way(("boomerang",))), needs_one=False),
)


def make(**values: Any) -> Speed:
    """Build the stage; at most one way of naming the new speed, and one of the direction."""
    for ways in WAYS:
        ways.check("speed", values)
    if not any(ways.chosen(values) for ways in WAYS):
        *some, last = (way.name for ways in WAYS for way in ways.ways)
        raise UsageError(
            "speed does not say how fast.",
            f"Give {', '.join(some)} or {last}.",
            "Example: vedit gif speed 2 in.gif -o out.gif",
        )
    factor = values["factor"]
    if factor is not None and not values.pop("any") and not Fraction(1, 10) <= factor <= 5:
        raise UsageError(
            f"speed {float(factor):g} is outside 0.1 to 5.",
            "",
            f"If you mean it: vedit gif speed --any {float(factor):g}",
        )
    values.pop("any", None)
    return Speed(**values)


class Speed:
    """Give every frame a new duration; the total is right to one tick.

    Rounding is by error diffusion: each duration is the rounded time so far, minus what has
    been given out. Under the floor `min_delay` (GIF only) images are kept and the clip gets
    slower, with a warning; with `drop` they are merged and the total holds.
    """

    name = "speed"

    def __init__(
        self,
        factor: Fraction | None = None,
        delay: int | None = None,
        fps: Fraction | None = None,
        duration: Fraction | None = None,
        reverse: bool = False,
        boomerang: bool = False,
        min_delay: int = 2,
        raw_delays: bool = False,
        drop: bool = False,
    ) -> None:
        self.factor, self.delay, self.fps, self.duration = factor, delay, fps, duration
        self.reverse, self.boomerang = bool(reverse), bool(boomerang)
        self.min_delay, self.raw_delays, self.drop = min_delay, bool(raw_delays), bool(drop)
        is_whole = self.reverse or self.boomerang or self.drop
        self.accepts: tuple[str, ...] = ("rgba", "yuv") if is_whole else ("packed", "index", "rgba", "yuv")
        self.prepass: str | None = "packed" if duration is not None else None
        self.total = 0

    def observe(self, clip: Clip, frames: Frames) -> None:
        """Add up the time there is, to know the factor that gives the wanted duration."""
        is_gif = clip.timebase == GIF_TIMEBASE
        self.total = sum(self._source_ticks(frame, is_gif) for frame in frames)

    def open(self, clip: Clip) -> Clip:
        self.clip = clip
        self.is_gif = clip.timebase == GIF_TIMEBASE
        self.scale = self._scale(clip)
        images = clip.frames_hint and (2 * clip.frames_hint - 2 if self.boomerang else clip.frames_hint)
        factor = self.scale
        if factor is None and clip.rate:  # a constant rate is changed evenly
            factor = (
                clip.rate / self.fps if self.fps is not None else clip.rate * Fraction(self.delay or 0, 100)
            )
        self.late = factor or Fraction(0)
        rate = clip.rate / factor if clip.rate and factor else self.fps or clip.rate
        return self._timed_facts(clip, factor).but(frames_hint=images, duration_hint=None, rate=rate)

    def _timed_facts(self, clip: Clip, factor: Fraction | None) -> Clip:
        """Sound and chapters at the new speed; they are lost where images get times of their own."""
        lost = (
            "it is not played backwards"
            if self.reverse
            else "it is not played to and fro"
            if self.boomerang
            else ""
        )
        if not factor:
            lost = (
                lost
                or "images of varying times that are all shown"
                f" {'at one rate' if self.fps else 'equally long'} leave no speed for it"
            )
        audio = clip.audio
        if lost or not factor:
            return clip.but(
                audio=audio and audio._replace(lost=audio.lost or lost),
                labels=clip.labels._replace(chapters=()),
            )
        return clip.but(
            audio=audio and audio._replace(tempo=audio.tempo / factor), labels=clip.labels.stretched(factor)
        )

    def _scale(self, clip: Clip) -> Fraction | None:
        """What old durations are multiplied with; None when they are replaced."""
        if self.factor is not None:
            return 1 / self.factor
        if self.duration is not None:
            if not self.total:
                raise UsageError(
                    "the clip has no duration to scale.",
                    "",
                    f"Use {option('delay', 'CS')} or {option('fps', 'R')}",
                )
            return self.duration / clip.timebase / self.total
        return None if self.delay is not None or self.fps is not None else Fraction(1)

    def run(self, frames: Frames) -> Frames:
        if self.reverse or self.boomerang:
            frames = self._backwards(frames)
        return self._merged(frames) if self.drop else self._timed(frames)

    def _source_ticks(self, frame: Frame, is_gif: bool) -> int:
        slow = is_gif and frame.duration < 2 and not self.raw_delays
        return BROWSER_DELAY_CS if slow else frame.duration

    def _wanted(self, frame: Frame) -> Fraction:
        if self.delay is not None:
            return Fraction(self.delay, 100) / self.clip.timebase
        if self.fps is not None:
            return 1 / (self.fps * self.clip.timebase)
        assert self.scale is not None
        # only a change of speed gives fast delays the meaning that browsers give them
        ticks = frame.duration if self.scale == 1 else self._source_ticks(frame, self.is_gif)
        return ticks * self.scale

    def _timed(self, frames: Frames) -> Frames:
        """The frames with new times; one that falls short of the floor gets the floor.

        Under `drop` it gets no time instead, and what it owed goes to the next one.
        """
        floor = self.min_delay if self.is_gif and self.scale != 1 else 0
        longest = LONGEST_CS if self.is_gif else None
        due = Fraction(0)  # when the frame should end
        pts = clamped = lifted = 0
        for index, frame in enumerate(frames):
            if (
                index == 0 and frame.pts and not (self.reverse or self.boomerang)
            ):  # the picture begins behind the sound
                due = frame.pts * self.late
                pts = int(due + Fraction(1, 2))
            due += self._wanted(frame)
            ticks = max(0, int(due + Fraction(1, 2)) - pts)
            if ticks < floor:
                lifted += 0 if self.drop else floor - ticks
                ticks = 0 if self.drop else floor
            if longest is not None and ticks > longest:
                due -= ticks - longest  # what is cut off here is not owed to the next frame
                clamped, ticks = clamped + 1, longest
            yield frame.but(index=index, pts=pts, duration=ticks, has_control=True)
            pts += ticks
        if clamped:
            self.clip.warn(f"{clamped} delays are longer than a GIF can say and are cut to {LONGEST_CS} cs")
        if lifted and pts > due * Fraction(102, 100):
            self._explain(pts, due)

    def _merged(self, frames: Frames) -> Frames:
        """Leave out frames without time; the next one that stays is drawn where any of them changed.

        Frames left out at the end replace the picture of the last one that stays.
        """
        held: Frame | None = None
        skipped: Frame | None = None
        changed = Rect(0, 0, 0, 0)
        blocks: tuple[Block, ...] = ()  # metadata stays, also that before images left out
        index = 0
        for frame in self._timed(frames):
            changed = changed.joined(frame.rect)
            blocks += frame.before
            if frame.duration == 0:
                skipped = frame
                continue
            if held is not None:
                yield held.but(index=index)
                index += 1
            held, skipped, changed, blocks = (
                frame.but(rect=changed, before=blocks),
                None,
                Rect(0, 0, 0, 0),
                (),
            )
        if skipped is not None:
            last = held or skipped.but(duration=self.min_delay, before=())
            held = last.but(
                pixels=skipped.pixels, rect=last.rect.joined(changed), before=last.before + blocks
            )
        if held is not None:
            yield held.but(index=index)

    def _explain(self, pts: int, due: Fraction) -> None:
        reached = (
            f"; that is speed {float(due * self.factor / pts):.3g} instead of {float(self.factor):g}"
            if self.factor
            else ""
        )
        self.clip.warn(
            f"delays below {self.min_delay} cs are not played as written, so the clip takes {pts / 100:.2f}"
            f" s, not {float(due) / 100:.2f} s{reached}; {option('drop', True)} merges images to keep the"
            f" time, {option('min_delay', 1)} writes them anyway"
        )

    def _backwards(self, frames: Frames) -> Frames:
        """The frames in reverse, or forth and back; composed frames wait in a temporary file."""
        import tempfile

        from vedit.media.spool import Spool

        with tempfile.TemporaryFile(prefix="vedit-") as file:
            kept = Spool(file)
            for frame in frames:
                if self.boomerang:
                    yield frame
                kept.add(frame)
            whole = self.clip.canvas
            # the change from frame i+1 back to i is where i+1 differed from i
            changed = [kept.facts(i).rect for i in range(1, len(kept))] + [whole]
            order = range(len(kept) - 2, 0, -1) if self.boomerang else range(len(kept) - 1, -1, -1)
            for i in order:
                yield kept[i].but(rect=changed[i])
