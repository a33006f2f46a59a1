"""The sound of clips one after another, each in step with its pictures, blended where they are."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from vedit.media.frames import Audio, Clip
from vedit.media.streams.nut import Sound, SoundSource
from vedit.media.timing import rounded
from vedit.media.video.decode import pcm

RATE, CHANNELS = 48000, 2
PIECE = RATE  # samples that are put together at once


class _Reader:
    """The samples of a clip in order, silent where its sound pauses or has ended."""

    def __init__(self, source: SoundSource) -> None:
        self.source = source
        self.waiting = np.zeros((0, CHANNELS))
        self.done = 0

    def read(self, count: int) -> np.ndarray:
        """The next samples; those that come later than they are asked for are left out."""
        goal = self.done + count
        came = True
        while came and self.done + len(self.waiting) < goal:
            came = False
            for at, data in self.source.until(Fraction(goal, RATE)):
                came = True
                self._add(rounded(at * RATE), np.frombuffer(data, "<i2").reshape(-1, CHANNELS))
        silence = np.zeros((max(0, count - len(self.waiting)), CHANNELS))
        found = np.concatenate((self.waiting[:count], silence))
        self.waiting, self.done = self.waiting[count:], goal
        return found

    def _add(self, begin: int, samples: np.ndarray) -> None:
        given = self.done + len(self.waiting)
        pause = np.zeros((max(0, begin - given), CHANNELS))
        self.waiting = np.concatenate((self.waiting, pause, samples[max(0, given - begin) :]))


@dataclass
class _Part:
    """A clip's sound: the samples of the whole that it begins and ends at, and what it shares with those
    beside it.
    """

    begin: int
    reader: _Reader | None
    whole_from: int
    end: int | None = None
    whole_until: int | None = None

    def take(self, first: int, last: int) -> np.ndarray:
        """The samples from `first` to `last` of the whole, silent where the clip is not; each is asked for
        once.
        """
        found = np.zeros((last - first, CHANNELS))
        begin, end = max(first, self.begin), last if self.end is None else min(last, self.end)
        if self.reader is None or end <= begin:
            return found
        found[begin - first : end - first] = self.reader.read(end - begin)
        middles = np.arange(first, last)[:, None] + 0.5
        if self.whole_from > self.begin:
            found *= np.clip((middles - self.begin) / (self.whole_from - self.begin), 0, 1)
        if self.end is not None and self.whole_until is not None and self.end > self.whole_until:
            found *= np.clip((self.end - middles) / (self.end - self.whole_until), 0, 1)
        return found


class JointSound:
    """Sound that arrives between the frames, as that of a NUT stream does; see `streams.nut.Sound`."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack
        self.sound = Sound(RATE, CHANNELS)
        self.parts: list[_Part] = []
        self.done = 0

    @property
    def audio(self) -> Audio:
        return Audio("-", live=self.sound)

    def begin(self, clip: Clip, at_s: Fraction, overlap_s: Fraction) -> None:
        """A clip's sound begins, and that of the one before ends `overlap_s` later."""
        if not self.sound.is_wanted:
            return
        begin, until = rounded(at_s * RATE), rounded((at_s + overlap_s) * RATE)
        if self.parts:
            self.parts[-1].end, self.parts[-1].whole_until = until, begin
        self.parts.append(_Part(begin, self._reader(clip), until if self.parts else begin))

    def _reader(self, clip: Clip) -> _Reader | None:
        source = self.stack.enter_context(pcm(clip))
        if source is None:
            return None
        if (source.rate, source.channels) != (RATE, CHANNELS):
            clip.warn(
                f"the sound is left out: it has {source.rate} Hz and {source.channels} channels, and is"
                f" joined at {RATE} Hz and {CHANNELS}"
            )
            return None
        return _Reader(source)

    def advance(self, seconds: Fraction) -> None:
        """Put aside what is to be heard before this moment of the whole."""
        if not self.sound.is_wanted:
            return
        goal = rounded(seconds * RATE)
        while self.done < goal:
            last = min(goal, self.done + PIECE)
            heard = sum(part.take(self.done, last) for part in self.parts)
            data = np.clip(np.rint(heard), -32768, 32767).astype("<i2")
            self.sound.packets.append((Fraction(self.done, RATE), data.tobytes()))
            self.done = last
        self.parts = [part for part in self.parts if part.end is None or part.end > self.done]
