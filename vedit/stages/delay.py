"""Set how long images are shown, each by itself or many at once; no picture is decoded."""

from __future__ import annotations

import re
from fractions import Fraction
from itertools import chain
from typing import Any, ClassVar, NamedTuple

from vedit.errors import UsageError, option
from vedit.media.frames import GIF_TIMEBASE, Clip, Frame, Frames
from vedit.media.limits import fraction
from vedit.media.timing import BROWSER_DELAY_CS, LONGEST_CS, rounded
from vedit.stages.options import LAST, Flag, Integer, Option, Spans, Value, is_within

SUMMARY = "Set how long images are shown: one, a range, all, or the last."
POSITIONAL = "rules"
EXAMPLES = (
    ("vedit gif delay 10 in.gif -o out.gif", "a tenth of a second for every image"),
    (
        'vedit gif delay "1-5=10 6=50 8-=*0.5 last=2s" in.gif -o out.gif',
        "ten centiseconds for the first five, 50 for the sixth, half of what they have from the eighth on",
    ),
    ("vedit gif delay --hold 300 in.gif -o out.gif", "three seconds on the last image"),
)
UNITS = {"": Fraction(1), "cs": Fraction(1), "ms": Fraction(1, 10), "s": Fraction(100)}
RIGHT = (
    "expected rules such as 1-5=10 6=50ms 8-=*0.5 all=+2 last=2s, or one delay such as 10 for all: hundredths"
    " of a second, or with ms or s behind"
)
LONGEST = 10**9  # centiseconds


class Rule(NamedTuple):
    """What is done to some images. value_cs: the delay, what is added to it, or the factor ("*")."""

    spans: tuple[tuple[int, int | None], ...]
    how: str
    value: Fraction

    def applied(self, delay_cs: Fraction) -> Fraction:
        if self.how == "*":
            return delay_cs * self.value
        return delay_cs + self.value if self.how == "+" else self.value


class Rules(Value):
    """`IMAGES=DELAY` with spaces between; a delay alone is for all images."""

    kind: ClassVar[str] = "rules"

    def __call__(self, value: str) -> tuple[Rule, ...]:
        rules = [self._rule(word) for word in value.replace(";", " ").split()]
        if not rules:
            raise ValueError(RIGHT)
        return tuple(rules)

    def _rule(self, word: str) -> Rule:
        images, equals, value = word.rpartition("=")
        try:
            return Rule(Spans()(images if equals else "all"), *_change(value))
        except ValueError:
            raise ValueError(f"{word} is not a rule; {RIGHT}") from None

    def is_meant(self, value: str) -> bool:
        """Whether a text that may be a name is rather rules, if wrong ones."""
        return re.match(r"(all|last|\d[\d,-]*)=", value) is not None or value.startswith(("*", "+"))


def _change(text: str) -> tuple[str, Fraction]:
    match = re.fullmatch(r"([*x+-]?)(\d*\.?\d+(?:/\d+)?)(cs|ms|s)?", text)
    if not match or (match[1] in ("*", "x") and match[3]):
        raise ValueError(text)
    number = fraction(match[2]) * UNITS[match[3] or ""]
    if number > LONGEST or (match[1] in ("*", "x") and not number):
        raise ValueError(text)
    how = {"x": "*", "-": "+"}.get(match[1], match[1])
    return how, -number if match[1] == "-" else number


class Delay(Value):
    """One delay in hundredths of a second, or with `ms` or `s` behind."""

    kind: ClassVar[str] = "delay"

    def __call__(self, value: str) -> Fraction:
        try:
            how, delay_cs = _change(value)
        except ValueError:
            how, delay_cs = "?", Fraction(0)
        if how:
            raise ValueError("expected a delay such as 200, in hundredths of a second, 2000ms or 2s")
        return delay_cs


OPTIONS = (
    Option(
        "rules",
        Rules(),
        "IMAGES=DELAY, one after another: images as 6, 1-5, 8-, 1,3,9, all or last; a delay in cs, or with ms"
        " or s; or a change such as *0.5, +2 or -2",
        "RULES",
    ),
    Option("hold", Delay(), "show the last image this long", "CS", usual=(2, 500, 1)),
    Option(
        "min-delay",
        Integer(0, LONGEST_CS),
        "no delay below this; browsers slow down delays under 2",
        "CS",
        2,
        usual=(0, 20, 1),
    ),
    Option(
        "raw-delays",
        Flag(),
        "multiply and add to a delay of 0 or 1 as it stands instead of the 10 cs that browsers play",
    ),
)


def make(**values: Any) -> Delays:
    """Build the stage from rules, a delay of the last image, or both."""
    rules, hold = values.pop("rules") or (), values.pop("hold")
    if not rules and hold is None:
        raise UsageError(
            "delay does not say how long.",
            f"Give rules such as 1-5=10, or {option('hold', 'CS')}.",
            'Example: vedit gif delay "1-5=10 last=200" in.gif -o out.gif',
        )
    last = () if hold is None else (Rule(((LAST, LAST),), "", hold),)
    return Delays((*rules, *last), **values)


class Delays:
    """Give images new durations, rule by rule, each on what the one before left.

    What a factor leaves of fractions is carried on to the next image that it holds for, so that totals are
    right to one tick. GIF alone has the floor `min_delay`, which images that no rule names do not get.
    """

    name = "delay"
    prepass: str | None = None
    accepts: tuple[str, ...] = ("packed", "index", "rgba", "yuv")

    def __init__(self, rules: tuple[Rule, ...], min_delay: int = 2, raw_delays: bool = False) -> None:
        self.rules = rules
        self.min_delay, self.raw_delays = min_delay, bool(raw_delays)

    def open(self, clip: Clip) -> Clip:
        self.clip = clip
        self.is_gif = clip.timebase == GIF_TIMEBASE
        self.ticks = GIF_TIMEBASE / clip.timebase  # in a centisecond
        audio = clip.audio
        return clip.but(
            rate=None,
            duration_hint=None,
            audio=audio and audio._replace(lost=audio.lost or "images have got times of their own"),
            labels=clip.labels._replace(chapters=()),
        )

    def run(self, frames: Frames) -> Frames:
        number = pts = raised = cut = 0
        owed = Fraction(0)
        held = next(frames, None)
        while held is not None:
            number += 1
            after = next(frames, None)
            rules = [rule for rule in self.rules if is_within(rule.spans, number, after is None)]
            ticks = held.duration
            if rules:
                wanted = self._wanted(held, rules)
                owed = owed if rules[-1].how == "*" else Fraction(0)
                ticks = max(0, rounded(wanted + owed))
                owed += wanted - ticks
                if self.is_gif and ticks < self.min_delay:
                    raised, ticks, owed = raised + 1, self.min_delay, Fraction(0)
                if self.is_gif and ticks > LONGEST_CS:
                    cut, ticks, owed = cut + 1, LONGEST_CS, Fraction(0)
            yield held.but(pts=pts, duration=ticks, has_control=True) if rules else held.but(pts=pts)
            pts += ticks
            held = after
        self._explain(number, raised, cut)

    def _wanted(self, frame: Frame, rules: list[Rule]) -> Fraction:
        """The duration in ticks."""
        is_slow = self.is_gif and frame.duration < 2 and not self.raw_delays
        delay_cs = Fraction(BROWSER_DELAY_CS if is_slow else frame.duration) / (1 if is_slow else self.ticks)
        for rule in rules:
            delay_cs = rule.applied(delay_cs)
        return delay_cs * self.ticks

    def _explain(self, count: int, raised: int, cut: int) -> None:
        firsts = chain.from_iterable(rule.spans for rule in self.rules)
        if behind := sorted({first for first, _ in firsts if first > count}):
            self.clip.warn(f"there is no image {behind[0]}: the clip has {count}")
        if raised:
            self.clip.warn(
                f"{raised} of the new delays are below {self.min_delay} cs, which is not played as written,"
                f" and are raised to it; {option('min_delay', 0)} writes them anyway"
            )
        if cut:
            self.clip.warn(f"{cut} delays are longer than a GIF can say and are cut to {LONGEST_CS} cs")
