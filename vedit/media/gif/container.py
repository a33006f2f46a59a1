"""The GIF container: read and write blocks, never touching compressed pixels.

Reading rules (design: docs/gif.md 4), each a decision the format leaves open: the canvas is the logical
screen; a control block belongs to the next image and the last one wins; the first loop block found is the
clip's; what is damaged is skipped with one warning and what is whole is kept. Both a file and a pipe are read
through one window that slides forward, so memory does not grow with the clip.
"""

import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from vedit.errors import InputError, Warn, option, silent
from vedit.media.frames import Block, Clip, Container, Frame, Frames, Palette, Rect
from vedit.media.limits import Limits

IMAGE, EXTENSION = 0x2C, 0x21
BLOCK_START = re.compile(rb"[\x21\x2c\x3b]")
CONTROL, APPLICATION, PLAIN_TEXT = 0xF9, 0xFF, 0x01
LOOP_APPS = (b"NETSCAPE2.0", b"ANIMEXTS1.0")
CHUNK = 1 << 18
GREYS = Palette(bytes(v for grey in range(256) for v in (grey, grey, grey)))


class Damage(NamedTuple):
    """One thing wrong with a file: what, and where in bytes from its start."""

    message: str
    offset: int


class _Window:
    """A view that slides over a stream: `data[pos:]` is what has been read but not used."""

    __slots__ = ("base", "data", "ended", "pos", "read")

    def __init__(self, read: Callable[[int], bytes], start: bytes = b"") -> None:
        self.read = read
        self.data = start
        self.pos = 0
        self.base = 0  # offset of data[0] in the stream
        self.ended = False

    @property
    def offset(self) -> int:
        return self.base + self.pos

    def more(self) -> bool:
        """Read another chunk behind the unused bytes; False at the end of the stream."""
        if self.ended:
            return False
        rest = len(self.data) - self.pos
        # doubling keeps a long image linear; small chunks keep a pipe's first image prompt
        chunk = self.read(max(CHUNK, rest))
        if not chunk:
            self.ended = True
            return False
        self.base += self.pos
        self.data = self.data[self.pos :] + chunk if rest else chunk
        self.pos = 0
        return True

    def need(self, count: int) -> bool:
        """Make `count` unused bytes available; False when the stream ends before."""
        while len(self.data) - self.pos < count:
            if not self.more():
                return False
        return True

    def take(self, count: int) -> bytes | None:
        if not self.need(count):
            return None
        start = self.pos
        self.pos += count
        return self.data[start : self.pos]

    def sub_blocks(self, keep: bool, limit: Callable[[int], None] | None = None) -> tuple[bytes, int, bool]:
        """Step over sub-blocks and their terminator: the bytes (if kept), how many, and whether whole."""
        p = self.pos
        data = self.data
        skipped = 0
        while True:
            try:
                while size := data[p]:
                    p += size + 1
                break
            except IndexError:
                if limit is not None:
                    limit(p - self.pos)
                if not keep:  # let the window slide: only the length is wanted
                    forward = min(p, len(data)) - self.pos
                    self.pos += forward
                    skipped += forward
                p -= self.pos
                if not self.more():
                    rest = self.data[self.pos :]
                    self.pos = len(self.data)
                    return rest, skipped + len(rest), False
                p += self.pos
                data = self.data
        start, self.pos = self.pos, p + 1
        return (data[start : p + 1] if keep else b""), skipped + p + 1 - start, True


class GifReader:
    """Read a GIF as a clip and its packed frames.

    read: returns up to n bytes, nothing at the end (a raw stream's `read`).
    start: bytes already taken from the stream, to sniff its format.
    keep_payload: False walks the blocks only; `Frame.pixels` is then the payload's length.
    strict: raise InputError at the first damage instead of collecting and warning.

    `clip` is ready after construction, and `frames()` may be called once. `damage` and `trailing_bytes` are
    complete when the frames are exhausted. Raises InputError when there is nothing to show, LimitError over a
    limit.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        name: str = "-",
        start: bytes = b"",
        *,
        limits: Limits = Limits(),
        strict: bool = False,
        keep_payload: bool = True,
        warn: Warn = silent,
    ) -> None:
        self.window = _Window(read, start)
        self.name = name
        self.limits = limits
        self.strict = strict
        self.keep_payload = keep_payload
        self.warn = warn
        self.damage: list[Damage] = []
        self.apps: list[bytes] = []
        self.trailing_bytes = 0
        self.has_trailer = False
        self._count = 0
        self._frames = self._images()
        self.clip = self._read_header()
        self._first = next(self._frames, None)
        if self._first is None:
            raise InputError("GIF without images.", "A GIF needs at least one image block.")
        if not (self.clip.width and self.clip.height):  # no logical screen: the first image's extent
            rect = self._first.rect
            self.clip.width, self.clip.height = min(rect.right, 65535), min(rect.bottom, 65535)
        if not (self.clip.width and self.clip.height):
            raise InputError("GIF without a single pixel: its screen and its first image are empty.")

    def frames(self) -> Frames:
        """Yield the packed frames in file order."""
        first, self._first = self._first, None
        if first is not None:
            yield first
        yield from self._frames

    def hurt(self, message: str) -> None:
        """Note damage: once as a warning, or as an error under `strict`."""
        offset = self.window.offset
        if self.strict:
            raise InputError(
                f"{message} (at byte {offset}).",
                "",
                f"Leave out {option('strict', True)} to keep what is whole.",
            )
        self.damage.append(Damage(message, offset))
        self.warn(message)

    def _read_header(self) -> Clip:
        window = self.window
        head = window.take(13)
        if head is None or not head.startswith(b"GIF8"):
            raise InputError(_not_a_gif(window.data if head is None else head))
        width = head[6] | head[7] << 8
        height = head[8] | head[9] << 8
        flags, background, aspect = head[10], head[11], head[12]
        palette = None
        if flags & 0x80:
            colours = window.take(3 << (flags & 7) + 1)
            if colours is None:
                raise InputError("the GIF ends inside its global palette.")
            palette = Palette(colours)
        return Clip(
            width,
            height,
            self.name,
            palette=palette,
            container=Container(head[:6], flags & 0x78, background, aspect),
            warn=self.warn,
        )

    def _images(self) -> Iterator[Frame]:
        """Walk the blocks; yield one packed frame per image block."""
        control: bytes | None = None
        blocks: list[Block] = []
        pts = 0
        while True:
            introducer = self._next_introducer()
            if introducer == EXTENSION:
                block = self._extension()
                if block is None:
                    break
                if block.label == CONTROL:
                    control = self._control(block.data)
                    continue
                if block.label == PLAIN_TEXT and control is not None:
                    blocks.append(Block(CONTROL, b"\x04" + control + b"\x00"))
                if not self._takes_loop(block, blocks):
                    blocks.append(block)
            elif introducer == IMAGE:
                frame = self._image(control, pts)
                if frame is None:
                    break
                if self._count == 0:  # what stands before the first image belongs to the clip
                    self.clip.blocks.extend(blocks)
                else:
                    frame = frame.but(before=tuple(blocks))
                self._count += 1
                self.limits.check("images", self._count, f"{self._count} images")
                pts += frame.duration
                control, blocks = None, []
                yield frame
            else:
                break
        self.clip.tail.extend(blocks)
        self._finish()

    def _finish(self) -> None:
        window = self.window
        if not self.has_trailer:
            if not any(damage.message.startswith("truncated") for damage in self.damage):
                self.hurt(f"truncated after image {self._count}: no trailer")
            return
        rest = len(window.data) - window.pos
        window.pos = len(window.data)
        while window.more():
            rest += len(window.data)
            window.pos = len(window.data)
        if rest:
            self.trailing_bytes = rest
            self.hurt(f"{rest} bytes after the end of the GIF are ignored")

    def _next_introducer(self) -> int | None:
        """The byte that starts the next block, skipping junk; None at the end."""
        window = self.window
        skipped = 0
        while window.need(1):
            found = BLOCK_START.search(window.data, window.pos)
            start = found.start() if found else len(window.data)
            skipped += start - window.pos
            window.pos = start
            if found:
                window.pos += 1
                if skipped:
                    self.hurt(f"{skipped} bytes of junk between blocks after image {self._count} are skipped")
                self.has_trailer = found[0] == b"\x3b"
                return found[0][0]
        return None

    def _extension(self) -> Block | None:
        window = self.window
        label = window.take(1)
        if label is None:
            self.hurt(f"truncated after image {self._count}: inside an extension block")
            return None

        def check(size: int) -> None:
            self.limits.check("comment", size, f"an extension block of {size} bytes")

        data, _, whole = window.sub_blocks(keep=True, limit=check)
        if not whole:
            name = "a control block" if label[0] == CONTROL else "an extension block"
            self.hurt(f"truncated after image {self._count}: inside {name}")
            return None
        check(len(data))
        return Block(label[0], data)

    def _control(self, data: bytes) -> bytes | None:
        """The four bytes of a control block: flags, delay (two), transparent index."""
        if data[0] < 4:
            self.hurt(f"control block of {data[0]} bytes before image {self._count + 1} is ignored")
            return None
        if data[0] != 4 or len(data) != 6:
            self.hurt(
                f"control block of {data[0]} bytes before image {self._count + 1}: the first 4 are used"
            )
        return data[1:5]

    def _takes_loop(self, block: Block, blocks: list[Block]) -> bool:
        """Take the loop count out of a NETSCAPE block; other sub-blocks of it are kept."""
        app = block.app
        if block.label == APPLICATION:
            self.apps.append(app)
        if app not in LOOP_APPS:
            return False
        kept = bytearray()
        for sub in block.sub_blocks(12):
            if len(sub) == 3 and sub[0] & 7 == 1:
                if self.clip.loop is None:
                    self.clip.loop = sub[1] | sub[2] << 8
            else:
                kept += bytes((len(sub),)) + sub
        if kept:
            blocks.append(Block(APPLICATION, b"\x0bNETSCAPE2.0" + kept + b"\x00"))
        return True

    def _image(self, control: bytes | None, pts: int) -> Frame | None:
        window = self.window
        number = self._count + 1
        descriptor = window.take(9)
        if descriptor is None:
            self.hurt(f"truncated after image {self._count}: inside an image descriptor")
            return None
        x, y, w, h = (descriptor[i] | descriptor[i + 1] << 8 for i in (0, 2, 4, 6))
        flags = descriptor[8]
        palette = None
        if flags & 0x80:
            colours = window.take(3 << (flags & 7) + 1)
            if colours is None:
                self.hurt(f"truncated after image {self._count}: inside a local palette")
                return None
            palette = Palette(colours)
        code_size = window.take(1)
        if code_size is None:
            self.hurt(f"truncated after image {self._count}: inside an image descriptor")
            return None
        payload, length, whole = window.sub_blocks(self.keep_payload)
        if not whole:
            self.hurt(f"truncated inside image {number}")
            if self.keep_payload:
                payload = _whole_sub_blocks(payload)
        bits, delay, index = (control[0], control[1] | control[2] << 8, control[3]) if control else (0, 0, 0)
        return Frame(
            index=number - 1,
            pts=pts,
            duration=delay,
            kind="packed",
            rect=Rect(x, y, w, h),
            pixels=payload if self.keep_payload else length,
            disposal=bits >> 2 & 7,
            transparent=index if bits & 1 else None,
            palette=palette,
            code_size=code_size[0],
            interlaced=bool(flags & 0x40),
            has_control=control is not None,
            user_input=bool(bits & 2),
        )


def _whole_sub_blocks(payload: bytes) -> bytes:
    """End a cut payload properly: the last sub-block is shortened to the bytes that arrived."""
    p = 0
    while p < len(payload) and p + payload[p] + 1 <= len(payload):
        p += payload[p] + 1
    rest = payload[p + 1 :]
    return payload[:p] + (bytes([len(rest)]) + rest if rest else b"") + b"\x00"


def _not_a_gif(data: bytes) -> str:
    if not data:
        return "empty file."
    if data.startswith(b"GIF8"):
        return "the GIF ends inside its header."
    start = data[:4].decode("latin-1")
    return f'not a GIF (starts with "{start if start.isprintable() else data[:4].hex(" ")}").'


def control_block(frame: Frame) -> bytes:
    """The graphic control extension of a frame: delay in cs, disposal, transparency."""
    bits = frame.disposal << 2 | frame.user_input << 1 | (frame.transparent is not None)
    return b"\x21\xf9\x04" + bytes(
        (bits, frame.duration & 255, frame.duration >> 8, frame.transparent or 0, 0)
    )


def palette_bits(palette: Palette) -> int:
    """The size field of a colour table: it holds 2 << bits colours."""
    return max(0, (len(palette) - 1).bit_length() - 1)


def palette_bytes(palette: Palette) -> bytes:
    """A colour table padded with black to the power of two that the format asks for."""
    return palette.rgb.ljust(6 << palette_bits(palette), b"\0")


def loop_block(loop: int) -> bytes:
    """The canonical loop extension; `loop` is the field: 0 forever, more than its 16 bits hold is the most
    that they do.
    """
    loop = min(loop, 65535)
    return b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + bytes((loop & 255, loop >> 8)) + b"\x00"


def write_gif(clip: Clip, frames: Frames, stream: BinaryIO, *, flush: bool = False) -> int:
    """Write packed frames as a GIF; returns the number of images.

    stream: a raw or buffered binary stream; partial writes of a raw one are continued.
    flush: push every image out as soon as it is complete, for pipes. The version becomes 89a where a control
    block, a loop or an extension needs it.
    """
    first = next(frames, None)
    if first is None:
        raise InputError("no frames to write.", "Every frame was dropped or the range selects none.")
    write = stream.write
    write(_header(clip, first))
    count = 0
    for frame in _again(first, frames):
        for block in frame.before:
            write(b"\x21" + bytes((block.label,)) + block.data)
        write(_image_head(frame))
        write(frame.pixels)
        count += 1
        if flush:
            stream.flush()
    for block in clip.tail:
        write(b"\x21" + bytes((block.label,)) + block.data)
    write(b"\x3b")
    stream.flush()
    return count


def _again(first: Frame, frames: Frames) -> Frames:
    yield first
    yield from frames


def _header(clip: Clip, first: Frame) -> bytes:
    container, palette = clip.container, clip.palette
    extended = clip.loop is not None or clip.blocks or first.before or _needs_control(first)
    version = b"GIF89a" if extended and container.version == b"GIF87a" else container.version
    flags = container.flags | (0x80 | palette_bits(palette) if palette else 0)
    head = version + bytes(
        (
            clip.width & 255,
            clip.width >> 8,
            clip.height & 255,
            clip.height >> 8,
            flags,
            container.background,
            container.aspect,
        )
    )
    parts = [head, palette_bytes(palette) if palette else b""]
    if clip.loop is not None:
        parts.append(loop_block(clip.loop))
    parts += (b"\x21" + bytes((block.label,)) + block.data for block in clip.blocks)
    return b"".join(parts)


def _needs_control(frame: Frame) -> bool:
    return frame.has_control or frame.duration > 0 or frame.transparent is not None or frame.disposal > 0


def _image_head(frame: Frame) -> bytes:
    """Control block, descriptor, local palette and code size of one image."""
    x, y, w, h = frame.rect
    palette = frame.palette
    flags = frame.interlaced << 6 | (0x80 | palette_bits(palette) if palette else 0)
    descriptor = bytes((IMAGE, x & 255, x >> 8, y & 255, y >> 8, w & 255, w >> 8, h & 255, h >> 8, flags))
    control = control_block(frame) if _needs_control(frame) else b""
    return control + descriptor + (palette_bytes(palette) if palette else b"") + bytes((frame.code_size,))


class GifFacts(NamedTuple):
    """What a walk over the blocks tells before any pixel is decoded."""

    images: int
    pixels: int
    compressed: int
    loop: int | None
    duration_cs: int


def scan_gif(read: Callable[[int], bytes], *, limits: Limits = Limits()) -> GifFacts:
    """Walk the blocks of a GIF once, and check its limits.

    Raises LimitError for a bomb, InputError for what cannot be read at all.
    """
    reader = GifReader(read, limits=limits, keep_payload=False)
    clip = reader.clip
    limits.check("canvas", clip.width * clip.height, f"a canvas of {clip.width}x{clip.height}")
    images = pixels = compressed = duration = 0
    for frame in reader.frames():
        size = frame.rect.w * frame.rect.h
        check_image(limits, frame)
        images += 1
        pixels += size
        compressed += frame.pixels
        duration += frame.duration
    limits.check("total", pixels, f"{images} images of {pixels / images / 1e6:.3g} Mpx each")
    limits.check_expansion(pixels, compressed)
    return GifFacts(images, pixels, compressed, clip.loop, duration)


def check_image(limits: Limits, frame: Frame) -> None:
    """Refuse an image that is larger than the limit allows."""
    limits.check(
        "image", frame.rect.w * frame.rect.h, f"image {frame.index + 1} of {frame.rect.w}x{frame.rect.h}"
    )


__all__ = ["GREYS", "Damage", "GifFacts", "GifReader", "check_image", "scan_gif", "write_gif"]
