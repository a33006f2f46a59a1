"""How far a result is from the exact one: gif_rmse.py OPERATION SOURCE RESULT [FFMPEG]

Both are read through Pillow (a video through FFMPEG), up to 24 frames are looked at, and the exact result is
computed in floating point. Prints the number of images of both and the root mean square difference per
channel (0-255) over black.
"""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageSequence


def exact(operation: str, frame: Image.Image) -> np.ndarray:
    rgb = Image.new("RGB", frame.size)
    rgb.paste(frame.convert("RGB"), (0, 0), frame.convert("RGBA").getchannel("A"))
    values = np.asarray(rgb, np.float32)
    if operation == "rotate":
        return np.rot90(values, -1)
    if operation == "crop":
        return values[:, rgb.width // 4 :]
    if operation == "adjust":
        return np.clip(np.rint(values * 1.2), 0, 255)
    if operation == "resize":
        half = (rgb.width // 2, rgb.height // 2)
        return np.stack(
            [
                np.asarray(Image.fromarray(values[..., i]).resize(half, Image.Resampling.BILINEAR))
                for i in range(3)
            ],
            axis=2,
        )
    return values


def frames(path: str, size: tuple[int, int], ffmpeg: str) -> Iterator[Image.Image]:
    if not path.endswith(".gif"):
        command = [ffmpeg, "-v", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        length = size[0] * size[1] * 3
        yield from (
            Image.frombytes("RGB", size, raw[at : at + length])
            for at in range(0, len(raw) - length + 1, length)
        )
        return
    with Image.open(path) as clip:
        yield from ImageSequence.Iterator(clip)


def main(operation: str, source: str, result: str, ffmpeg: str = "ffmpeg") -> None:
    with Image.open(result) as found:
        size, count = found.size, getattr(found, "n_frames", 1)
    wanted_count = sum(1 for _ in frames(source, size, ffmpeg))
    step = max(1, wanted_count // 24)
    total = pixels = 0.0
    for number, (frame, got_frame) in enumerate(
        zip(frames(source, size, ffmpeg), frames(result, size, ffmpeg))
    ):
        if number % step == 0:
            wanted, got = exact(operation, frame), exact("same", got_frame)
            if wanted.shape != got.shape:
                print(wanted_count, count, "nan")
                return
            total += float(((wanted - got) ** 2).sum())
            pixels += wanted.size
    print(wanted_count, count, (total / pixels) ** 0.5)


if __name__ == "__main__":
    main(*sys.argv[1:])
