"""What a person writes with Pillow in ten minutes: pillow_script.py OPERATION INPUT OUTPUT

Kept as it would be written, all frames in memory and Pillow's own saving; it is one of the peers of
gif_peers.py.
"""

import sys

from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageSequence


def watermark(frame: Image.Image) -> Image.Image:
    layer = Image.new("RGBA", frame.size)
    font = ImageFont.load_default(24)
    ImageDraw.Draw(layer).text(
        (frame.width - 10, frame.height - 10), "vedit", (255, 255, 255, 128), font, anchor="rs"
    )
    return Image.alpha_composite(frame, layer)


OPERATIONS = {
    "speed": lambda frame: frame,
    "rotate": lambda frame: frame.transpose(Image.Transpose.ROTATE_270),
    "crop": lambda frame: frame.crop((frame.width // 4, 0, frame.width, frame.height)),
    "adjust": lambda frame: ImageEnhance.Brightness(frame).enhance(1.2),
    "resize": lambda frame: frame.resize((frame.width // 2, frame.height // 2), Image.Resampling.BILINEAR),
    "watermark": watermark,
}


def main(operation: str, source: str, target: str) -> None:
    frames, durations = [], []
    with Image.open(source) as clip:
        loop = clip.info.get("loop", 0)
        for frame in ImageSequence.Iterator(clip):
            durations.append(frame.info.get("duration", 100) / (2 if operation == "speed" else 1))
            frames.append(OPERATIONS[operation](frame.convert("RGBA")))
    frames[0].save(
        target, save_all=True, append_images=frames[1:], duration=durations, loop=loop, optimize=False
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
