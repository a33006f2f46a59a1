"""From full colour to palette indices: choose palettes, map pixels to them, code the differences.

Three steps, of which only the second is costly and runs on threads:

    _Director   looks at a sample of each frame's changed region and decides on its palette
    _Painter    maps the region to that palette
    _Screen     knows what a viewer sees, and leaves out every pixel that is as good as it gets
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any, NamedTuple

from PIL import Image, ImageChops

from vedit.errors import UsageError, option
from vedit.media.frames import Clip, Frame, Frames, Palette, Rect
from vedit.media.gif.palettes import (
    IS_ZERO,
    SAMPLE,
    Sample,
    Table,
    distance,
    distinct,
    lookup,
    most_used,
    sample,
    split,
    with_blends,
)
from vedit.media.memory import threads_for
from vedit.media.options import QuantiseOptions
from vedit.media.window import ordered_map

PAINTED_BYTES = (
    10  # of memory per pixel of a frame: RGBA, what changed of it, which of it is opaque, and the indices
)
PALETTES = ("auto", "keep", "global", "frame")
DITHERS = ("none", "bayer", "fs")
OPAQUE = 128  # alpha from here on is drawn
GOOD = 2.0  # root mean square error that needs no better palette
DRIFT = 1.5  # a palette serves until its error has grown by this factor
FINE = 1.6  # fewer colours do when they stay below this error
SAVING = 1.5  # what a palette of our own must save in error to replace the source's
GAIN = 0.75  # what it must reach, as a share of the error, to replace the one in use
SHOTS = 32  # frames that a global palette is made from
BYTE_PIXELS = 10  # a byte of palette weighs as much as a bit on so many pixels, three quarters of 8
NOT_ZERO = [0] + [255] * 255


def check(options: QuantiseOptions) -> None:
    """Raise UsageError for options that are unknown or out of range."""
    for name, value, allowed in (("palette", options.palette, PALETTES), ("dither", options.dither, DITHERS)):
        if value not in allowed:
            raise UsageError(f"{option(name, value)} is unknown.", f"It is one of: {', '.join(allowed)}.")
    if not 2 <= options.colors <= 256:
        raise UsageError(
            f"{option('colors', options.colors)} is out of range.", "A GIF palette holds 2 to 256 colours."
        )


def quantise(
    clip: Clip, frames: Frames, options: QuantiseOptions = QuantiseOptions(), jobs: int = 1
) -> Frames:
    """Turn rgb and rgba frames into index frames that show the same, as few bytes as that takes.

    The number of frames, their times and metadata stay. `clip.palette` is set to the first frame's
    palette before that frame is given; frames with another one carry their own. Each frame after
    the first covers only what changed, with a transparent index for pixels that stay; a frame
    without change is one transparent pixel. Disposal is 1, or 2 where pixels turn transparent.
    The result does not depend on `jobs`. Raises UsageError for options that are unknown.
    """
    check(options)
    planned = _Director(clip, options).plan(frames)
    threads = threads_for(PAINTED_BYTES * clip.canvas.area, jobs, clip.limits)
    painted = ordered_map(_Painter(clip, options.dither), planned, threads)
    return _Screen(clip).show(painted)


class Task(NamedTuple):
    """One frame, decided on: the region to draw, its pixels and palette.

    drawn: mask "L" of the opaque pixels of the region, None when all are.
    """

    frame: Frame
    region: Rect
    rgb: Image.Image | None
    drawn: Image.Image | None
    table: Table
    disposal: int


class _Picture(NamedTuple):
    """A frame with its alpha decided: colours (0 where transparent) and the opaque mask or None."""

    frame: Frame
    rgb: Image.Image
    drawn: Image.Image | None


def _picture(frame: Frame) -> _Picture:
    image = frame.pixels
    if image.mode == "RGB":
        return _Picture(frame, image, None)
    alpha = image.getchannel("A")
    if alpha.getextrema()[0] >= OPAQUE:
        return _Picture(frame, image.convert("RGB"), None)
    drawn = lookup(alpha, [0] * OPAQUE + [255] * (256 - OPAQUE))
    rgb = Image.new("RGB", image.size)
    rgb.paste(image.convert("RGB"), (0, 0), lookup(drawn, NOT_ZERO, "1"))
    return _Picture(frame, rgb, drawn)


class _Director:
    """Decide for each frame which region is drawn, with which palette and disposal; in order."""

    def __init__(self, clip: Clip, options: QuantiseOptions) -> None:
        self.canvas = clip.canvas
        self.options = options
        self.keeps_colours = clip.keeps_colours
        self.current: Table | None = None
        self.first: Table | None = None
        self.hint: Table | None = None  # the table of the last source palette
        self.keeps_source = False
        self.tried = 0.0  # the error at which a new palette was last found not to pay
        self.slot = True

    def plan(self, frames: Frames) -> Iterator[Task]:
        """Yield one task per frame, one frame behind the input: clearing needs to know the next."""
        if self.options.palette == "global":
            frames = self._survey(frames)
        before: _Picture | None = None
        cleared = Rect(0, 0, 0, 0)
        pictures = map(_picture, frames)
        now = next(pictures, None)
        while now is not None:
            after = next(pictures, None)
            self.slot = self.slot and not (before is None and after is None and now.drawn is None)
            region = self._changed(before, now).joined(cleared)
            vanishing = _vanishing(now, after)
            cleared = Rect(0, 0, 0, 0) if vanishing.is_empty else region.joined(vanishing)
            if not cleared.is_empty:
                region = cleared
            yield self._task(now, region, 1 if cleared.is_empty else 2)
            before, now = now, after

    def _changed(self, before: _Picture | None, now: _Picture) -> Rect:
        """The smallest rectangle around the pixels that differ from the frame before."""
        if before is None:
            return self.canvas if now.drawn is None else _rect(now.drawn.getbbox())
        rect = now.frame.rect.clipped(self.canvas)
        if rect.is_empty:
            return rect
        changed = _rect(ImageChops.difference(now.rgb.crop(rect.box), before.rgb.crop(rect.box)).getbbox())
        if now.drawn is not None or before.drawn is not None:
            masks = [_mask(picture).crop(rect.box) for picture in (now, before)]
            changed = changed.joined(_rect(ImageChops.difference(*masks).getbbox()))
        return changed.moved(rect.x, rect.y)

    def _task(self, now: _Picture, region: Rect, disposal: int) -> Task:
        if region.is_empty:
            return Task(now.frame, region, None, None, self.first or self._blank(now.frame.palette), disposal)
        rgb = now.rgb if region == self.canvas else now.rgb.crop(region.box)
        drawn = now.drawn and now.drawn.crop(region.box)
        if drawn is not None and drawn.getextrema()[0]:
            drawn = None
        return Task(now.frame, region, rgb, drawn, self._choose(rgb, drawn, now.frame.palette), disposal)

    def _blank(self, source: Palette | None) -> Table:
        """The clip's palette where its first frame is fully transparent."""
        nothing = Sample(Image.new("RGB", (1, 1)), Image.new("L", (1, 1)))
        self.keeps_source = source is not None
        return self._adopt(
            self._source_table(source, nothing) if source is not None else Table(b"\0\0\0"), GOOD
        )

    def _limit(self) -> int:
        return min(self.options.colors, 255 if self.slot else 256)

    def _adopt(self, table: Table, error: float) -> Table:
        if table.error < 0:  # set once: frames already on their way read it
            table.error = error
        if self.first is None:
            self.first = table
        self.current = table
        return table

    def _choose(self, rgb: Image.Image, drawn: Image.Image | None, source: Palette | None) -> Table:
        """The palette for one region, by the policy of the options."""
        policy = self.options.palette
        if policy == "global" and self.first is not None:
            return self.first
        some = sample(rgb, drawn)
        if policy == "keep" and source is not None:
            return self._adopt(self._source_table(source, some), 0.0)
        if policy == "keep" and self.current is not None:
            return self.current
        if policy == "frame":
            error, table = self._build(some, rgb)
            return self._adopt(table, error)
        exact = self._exact_table(rgb, drawn, source, some)
        if exact is not None:
            self.keeps_source = True
            return self._adopt(exact, 0.0)
        return (
            self._choose_first(some, rgb, source)
            if self.first is None
            else self._choose_next(some, rgb, source)
        )

    def _exact_table(
        self, rgb: Image.Image, drawn: Image.Image | None, source: Palette | None, some: Sample
    ) -> Table | None:
        """A palette at hand that has every colour of the region, as after stages that blend nothing."""
        if source is None:
            return None
        few: Any = rgb.getcolors(256)
        if few is None:
            return None
        colours = {
            colour
            for count, colour in few
            if drawn is None or colour != (0, 0, 0) or count > drawn.histogram()[0]
        }
        for table in (self.first, self.current):
            if table is not None and colours <= table.index.keys():
                return table
        # a full palette of greys or the like loses a colour to the transparent entry, and none is missed
        if (
            not self.keeps_colours
            and self.first is not None
            and len(self.first.index) == self._limit()
            and len(colours - self.first.index.keys()) == 1
            and some.error(self.first) < 0.5
        ):
            return self.first
        if colours <= {tuple(colour) for colour in split(source.rgb)}:
            table = self._source_table(source, some)
            if colours <= table.index.keys():
                return table
        return self._table_of(colours, drawn is not None) if self.keeps_colours else None

    def _table_of(self, colours: set[Any], has_holes: bool) -> Table | None:
        """A palette of just these colours; 256 leave no room for a transparent one, where none is needed."""
        if has_holes and len(colours) < self._limit():
            colours = colours | {(0, 0, 0)}  # what stands in the holes: with it all are mapped exactly
        fits = len(colours) <= self._limit()
        if not fits and (has_holes or len(colours) > self.options.colors):
            return None
        return Table(b"".join(bytes(colour) for colour in sorted(colours)), slot=self.slot and fits)

    def _choose_first(self, some: Sample, rgb: Image.Image, source: Palette | None) -> Table:
        """The clip's palette: the source's, unless one made for this frame is clearly better."""
        error, best = 1e9, None
        if source is not None:
            best = self._source_table(source, some)
            error = some.error(best)
        if best is None or error > GOOD:
            built_error, built = self._build(some, rgb, error - SAVING if best is not None else 255.0)
            if best is None or built_error < error - SAVING:
                error, best = self._joined(built, built_error, source, some)
        self.keeps_source = best.source is not None
        return self._adopt(best, error)

    def _joined(
        self, built: Table, error: float, source: Palette | None, some: Sample
    ) -> tuple[float, Table]:
        """A small palette of our own, with the source's colours and blends, for frames still to come."""
        colours = distinct(built.colours + (source.rgb[:768] if source is not None else b""))
        if source is None or self._limit() - len(colours) // 3 < 64:
            return error, built
        table = Table(with_blends(colours, self._limit()), slot=self.slot)
        return some.error(table), table

    def _choose_next(self, some: Sample, rgb: Image.Image, source: Palette | None) -> Table:
        """The clip's palette while it serves; else one of the frame's own, where that pays."""
        assert self.first is not None and self.current is not None
        pixels = rgb.width * rgb.height
        first_error = some.error(self.first)
        if first_error <= GOOD:
            return self.first

        def pays(error: float, table: Table) -> bool:
            # One bit per pixel more would halve an error, or take three quarters off its square. A
            # palette's bits are well spent when they take off more, at the error halfway between.
            saved = (first_error * first_error - error * error) * pixels
            return saved > BYTE_PIXELS * len(table.palette.rgb) * first_error * max(error, 1)

        own = [] if self.current is self.first else [self.current]
        if (
            self.keeps_source
            and source is not None
            and source not in (self.first.source, self.current.source)
        ):
            own.append(self._source_table(source, some))
        error, best = first_error, self.first
        for table in own:
            own_error = some.error(table)
            if own_error < error and pays(own_error, table):
                error, best = own_error, table
        waste = error * error * pixels
        could_pay = waste > BYTE_PIXELS * 96 * error
        if could_pay and error > max(GOOD, DRIFT * best.error) and waste > DRIFT * self.tried:
            built_error, built = self._build(some, rgb, GAIN * error)
            if built_error < GAIN * error and pays(built_error, built):
                error, best = built_error, built
                self.tried = 0.0
            else:  # as good as it gets: do not try again for every frame
                self.tried = waste
        return self._adopt(best, error)

    def _build(self, some: Sample, rgb: Image.Image, needed: float = 255.0) -> tuple[float, Table]:
        """The smallest palette that is fine, or the largest allowed; and its error. Few colours are all kept.

        needed: the error to reach; a trial that shows this to be out of reach is given back as it is.
        """
        limit = self._limit()
        if rgb.getcolors(limit) is not None:
            return 0.0, Table(
                Sample(rgb, some.drawn if rgb is some.rgb else None).best_colours(limit), slot=self.slot
            )
        wanted = 0.0
        for count in (31, 63, 127, limit):
            if count < min(wanted, limit):
                continue
            table = Table(some.best_colours(min(count, limit)), slot=self.slot)
            error = some.error(table)
            if error <= FINE or count >= limit or error * (count / limit) ** 0.7 > needed:
                break
            wanted = count * (error / FINE) ** 1.5 / 2  # errors shrink about so; half of it, to be sure
        return error, table

    def _source_table(self, source: Palette, some: Sample) -> Table:
        """The source's palette with room for the transparent entry, and with blends where it has room."""
        if self.hint is None or self.hint.source is not source:
            colours = distinct(source.rgb[:768])
            free = self._limit() - len(colours) // 3
            if free < 0:
                colours = most_used(colours, self._limit(), some)
            elif free >= 64 and self.slot and self.options.palette == "auto":
                colours = with_blends(colours, self._limit())
            self.hint = Table(colours, slot=self.slot, source=source)
        return self.hint

    def _survey(self, frames: Frames) -> Frames:
        """Look at the whole clip, make its palette, and give the frames again from a spool file."""
        from tempfile import TemporaryFile

        with TemporaryFile() as file:
            spool = _Spool(file, self.canvas)
            shots: list[Image.Image] = []
            stride = 1
            for number, frame in enumerate(spool.record(frames)):
                rect = frame.rect.clipped(self.canvas)
                if number % stride or rect.is_empty:
                    continue
                picture = _picture(frame)
                if picture.drawn is not None and picture.drawn.crop(rect.box).getextrema()[1] == 0:
                    continue
                shots.append(
                    sample(
                        picture.rgb.crop(rect.box), picture.drawn and picture.drawn.crop(rect.box)
                    ).opaque()
                )
                if len(shots) > SHOTS:  # every second one, from here on too
                    shots, stride = shots[::2], stride * 2
            self.slot = spool.count > 1 or not shots or spool.has_alpha
            sheet = _sheet(shots)
            error, table = self._build(sample(sheet), sheet)
            self._adopt(table, error)
            yield from spool.replay()


class _Spool:
    """Frames on disk: the changed rectangles, compressed."""

    def __init__(self, file: IO[bytes], canvas: Rect) -> None:
        self.file = file
        self.canvas = canvas
        self.frames: list[tuple[Frame, Rect, str, int]] = []
        self.has_alpha = False

    @property
    def count(self) -> int:
        return len(self.frames)

    def record(self, frames: Frames) -> Frames:
        """Pass the frames on and write them down."""
        for frame in frames:
            rect = frame.rect.clipped(self.canvas) if self.frames else self.canvas
            mode = frame.pixels.mode
            self.has_alpha |= mode == "RGBA"
            data = b"" if rect.is_empty else zlib.compress(frame.pixels.crop(rect.box).tobytes(), 1)
            self.file.write(data)
            self.frames.append((frame.but(pixels=None), rect, mode, len(data)))
            yield frame

    def replay(self) -> Frames:
        """The same frames again."""
        self.file.seek(0)
        shown = Image.new("RGB", (self.canvas.w, self.canvas.h))
        for frame, rect, mode, length in self.frames:
            shown = shown.convert(mode) if shown.mode != mode else shown.copy()
            if not rect.is_empty:
                part = Image.frombytes(mode, (rect.w, rect.h), zlib.decompress(self.file.read(length)))
                shown.paste(part, rect.box)
            yield frame.but(pixels=shown)


def _sheet(shots: list[Image.Image]) -> Image.Image:
    """Samples side by side, each with the same share of the area."""
    side = SAMPLE // 2
    sheet = Image.new("RGB", (side * max(1, len(shots)), side))
    for i, shot in enumerate(shots):
        sheet.paste(shot.resize((side, side), Image.Resampling.NEAREST), (i * side, 0))
    return sheet


def _rect(box: tuple[int, int, int, int] | None) -> Rect:
    return Rect(0, 0, 0, 0) if box is None else Rect(box[0], box[1], box[2] - box[0], box[3] - box[1])


def _mask(picture: _Picture) -> Image.Image:
    return picture.drawn if picture.drawn is not None else Image.new("L", picture.rgb.size, 255)


def _vanishing(now: _Picture, after: _Picture | None) -> Rect:
    """The smallest rectangle around the pixels that the next frame makes transparent."""
    if after is None or after.drawn is None:
        return Rect(0, 0, 0, 0)
    return _rect(ImageChops.subtract(_mask(now), after.drawn).getbbox())


class _Painter:
    """Map one task's region to its palette; runs on threads, so it keeps no state of the stream."""

    def __init__(self, clip: Clip, dither: str) -> None:
        self.dither = dither
        self.pattern = _bayer(clip.width, clip.height) if dither == "bayer" else None

    def __call__(self, task: Task) -> tuple[Task, Image.Image | None]:
        rgb = task.rgb
        if rgb is None:
            return task, None
        if self.pattern is not None:
            rgb = self._patterned(rgb, task.region, task.table.error)
        return task, task.table.map(rgb, diffuse=self.dither == "fs")

    def _patterned(self, rgb: Image.Image, region: Rect, error: float) -> Image.Image:
        """Add a threshold pattern as high as the palette's steps; it stands still on the canvas."""
        assert self.pattern is not None
        height = min(64, round(2 * error))  # full dithering would take 3.5 times the error
        if height < 1:
            return rgb
        pattern = lookup(self.pattern.crop(region.box), [level * height // 256 for level in range(256)])
        return ImageChops.add(rgb, Image.merge("RGB", (pattern,) * 3), 1, -(height // 2))


def _bayer(width: int, height: int) -> Image.Image:
    """Bayer's 8x8 matrix, 0 to 252, repeated over the canvas."""
    matrix = [[0]]
    for _ in range(3):
        matrix = [[4 * v + a for v in row for a in pair] for row in matrix for pair in ((0, 2), (3, 1))]
    row = b"".join(bytes(4 * v for v in line * (width // 8 + 1))[:width] for line in matrix)
    return Image.frombytes("L", (width, height), (row * (height // 8 + 1))[: width * height])


class _Screen:
    """What a viewer sees; each painted region is reduced to what improves on that."""

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self.rgb = Image.new("RGB", (clip.width, clip.height))
        self.shown = Image.new("L", (clip.width, clip.height))  # 255 where something opaque is seen
        self.is_full = False  # whether it is opaque everywhere
        self.first: Table | None = None

    def show(self, painted: Iterable[tuple[Task, Image.Image | None]]) -> Frames:
        for task, indices in painted:
            if self.first is None:
                self.first = task.table
                self.clip.palette = task.table.palette
            yield (
                self._whole(task, indices)
                if indices is not None and task.table.transparent is None
                else self._difference(task, indices)
            )

    def _frame(self, task: Task, rect: Rect, indices: Image.Image) -> Frame:
        table = task.table
        return task.frame.but(
            kind="index",
            rect=rect,
            pixels=indices,
            disposal=task.disposal,
            transparent=table.transparent,
            palette=None if table is self.first else table.palette,
            code_size=2,
            interlaced=False,
            has_control=True,
        )

    def _whole(self, task: Task, indices: Image.Image) -> Frame:
        every = Image.new("L", indices.size, 255)
        self._update(task, indices.convert("RGB"), every, task.drawn)
        return self._frame(task, task.region, indices)

    def _difference(self, task: Task, indices: Image.Image | None) -> Frame:
        """Draw only the pixels that come closer to the frame than what is already seen."""
        region, slot = task.region, task.table.transparent
        if indices is None:
            return self._nothing(task)
        assert slot is not None
        rgb, drawn = task.rgb, task.drawn
        assert rgb is not None
        mapped = indices.convert("RGB")
        better = self._better(task, mapped)
        box = _rect(better.getbbox())
        rect = region if task.disposal == 2 else box.moved(region.x, region.y)
        self._update(task, mapped, better, drawn)
        if rect.is_empty:
            return self._nothing(task)
        indices.paste(slot, (0, 0, region.w, region.h), lookup(better, IS_ZERO, "1"))
        if rect != region:
            indices = indices.crop(box.box)
        return self._frame(task, rect, indices)

    def _better(self, task: Task, mapped: Image.Image) -> Image.Image:
        """Mask "L", not 0 where the mapped pixel is to be drawn."""
        region, rgb, drawn, error = task.region, task.rgb, task.drawn, task.table.error
        assert rgb is not None
        stale = distance(rgb, self.rgb.crop(region.box))
        better = ImageChops.subtract(stale, distance(rgb, mapped), 1, -round(error))
        if not self.is_full:
            better = ImageChops.lighter(better, ImageChops.invert(self.shown.crop(region.box)))
        return better if drawn is None else ImageChops.darker(better, drawn)

    def _update(
        self, task: Task, mapped: Image.Image, better: Image.Image, drawn: Image.Image | None
    ) -> None:
        region = task.region
        self.rgb.paste(mapped, region.box, lookup(better, NOT_ZERO, "1"))
        if task.disposal == 2:
            self.shown.paste(0, region.box)
            self.is_full = False
        elif not self.is_full:
            self.shown.paste(255, region.box, drawn)
            self.is_full = region == self.clip.canvas and drawn is None

    def _nothing(self, task: Task) -> Frame:
        slot = task.table.transparent
        if slot is None:
            frame = self._frame(task, Rect(0, 0, 1, 1), Image.new("P", (1, 1), 0))
            return frame.but(palette=Palette(b"\0\0\0"), transparent=0)
        return self._frame(task, Rect(0, 0, 1, 1), Image.new("P", (1, 1), slot))
