"""MSR-VTT from the user's own copy: captions by clip, and which part of a file a clip is.

Source: Xu, Mei, Yao, Rui 2016. The annotation file (train_val_videodatainfo.json and the like) lists
`videos` {video_id, category, url, start time, end time, split} and `sentences` {caption, video_id,
sen_id}: 10,000 clips with 20 sentences each, split 6513 / 497 / 2990. Copies on the Hub come as a
table with the columns video_id, caption, split.

Start and end refer to the video on the web. The files that circulate as videoN.mp4 are already cut,
so a file is cut only when it is longer than its part and reaches the part's end.
"""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

from vedit.data.layout import tidy
from vedit.data.table import Row, group, read_table
from vedit.documents import Kind, read_json
from vedit.errors import UsageError

LICENCE = "unstated: third-party web videos, see https://www.microsoft.com/en-us/research/publication/msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/"
SPLITS = {"train": "train", "validate": "val", "validation": "val", "val": "val", "test": "test"}
ANNOTATION = Kind(
    "an MSR-VTT annotation",
    right="It holds the lists videos and sentences; a .csv or .jsonl table works too.",
    largest=2**28,
)
ROUNDING_S = 1.5  # a file this much longer than its part is taken to be uncut


def read_annotation(path: str | Path) -> list[Row]:
    """Clips of an annotation file, JSON or table. Raises InputError when it is neither."""
    if Path(path).suffix.lower() != ".json":
        return group(read_table(path), "video_id", "caption", str(path))
    about = read_json(path, ANNOTATION)
    try:
        sentences: dict[str, list[str]] = {}
        for sentence in sorted(about["sentences"], key=lambda sentence: int(sentence.get("sen_id", 0))):
            texts = sentences.setdefault(str(sentence["video_id"]), [])
            if (text := tidy(str(sentence["caption"]))) and text not in texts:
                texts.append(text)
        return [
            Row(
                str(video["video_id"]),
                tuple(sentences.get(str(video["video_id"]), ())),
                {str(key): str(value) for key, value in video.items()},
            )
            for video in about["videos"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ANNOTATION.refusal(str(path), repr(error)) from None


def of_split(rows: list[Row], split: str | None) -> list[Row]:
    """Rows of a split by its name here: train, val or test. Raises UsageError when none is."""
    if split is None:
        return rows
    chosen = [row for row in rows if SPLITS.get(row.facts.get("split", "").lower()) == split]
    if not chosen:
        present = sorted({SPLITS.get(row.facts.get("split", "").lower(), "unnamed") for row in rows})
        raise UsageError(f"no clip belongs to the split {split}.", f"The file holds: {', '.join(present)}.")
    return chosen


def chosen_captions(row: Row, which: str, seed: int) -> tuple[str, ...]:
    """The first, all, or one caption drawn by the clip's id and the seed."""
    if which == "all" or not row.captions:
        return row.captions
    return (row.captions[0] if which == "first" else random.Random(f"{seed}:{row.id}").choice(row.captions),)


def part_of(row: Row, length_s: Fraction) -> tuple[Fraction, Fraction] | None:
    """(start, end) in seconds when a file of this length is the uncut video, else None."""
    try:
        start, end = (Fraction(row.facts[key]) for key in ("start time", "end time"))
    except (KeyError, ValueError):
        return None
    is_uncut = 0 <= start < end <= length_s + Fraction(1, 2) and length_s > end - start + Fraction(ROUNDING_S)
    return (start, end) if is_uncut else None
