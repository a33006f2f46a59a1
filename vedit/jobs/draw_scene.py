"""Turn captions into drawn clips: the scene, the truth of an edit, and their record."""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from vedit.data import grammar
from vedit.documents import Kind, read_json, table
from vedit.errors import InputError, UsageError
from vedit.media.atomic import open_output

if TYPE_CHECKING:
    from vedit.data.scenes import Scene
    from vedit.media.frames import Clip, Frame

DURATION_CS = 10
RECORD = Kind("a scene record", next_step="vedit scene CAPTION --record FILE writes one.", largest=2**20)
MAX_CHUNKS = 128  # of 32 scenes, until one has room for the objects asked for


def scene_for(caption: str, seed: int = 0, truth: str | None = None) -> tuple["Scene", "Scene | None"]:
    """Draw the nuisances of a scene from a seed; what the caption leaves out as well.

    With `truth`, return the edited scene too: every field that its caption names changes,
    everything else stays. The place is chosen so that both objects stay inside the picture.
    Raises UsageError for words outside the grammar.
    """
    from vedit.data import scenes

    said = grammar.parse_caption(caption)
    changed = grammar.parse_caption(truth) if truth is not None else {}
    changed = _with_implied(changed, said) if truth is not None else {}
    defaults = {"size": "medium", "texture": "plain", "pattern": "plain"}
    for chunk in range(MAX_CHUNKS):
        for record in scenes.sample_records(32, seed * MAX_CHUNKS + chunk, held_out=None):
            scene = _with(record, {**defaults, **said})
            edited = _with(scene, changed)
            if scene.is_inside and edited.is_inside:
                return scene, edited if truth is not None else None
    raise UsageError(f'no place in the picture fits both "{caption}" and "{truth}".')


def _with(scene: "Scene", fields: Mapping[str, Any]) -> "Scene":
    return dataclasses.replace(scene, **fields)


def _with_implied(changed: dict[str, str], said: dict[str, str]) -> dict[str, str]:
    """Read an unsaid size, texture or pattern of the truth as its default where the scene says one."""
    implied = {"size": "medium", "texture": "plain", "pattern": "plain"}
    if "ground" not in changed:
        del implied["pattern"]
    return {**{name: value for name, value in implied.items() if name in said}, **changed}


def frames_of(scene: "Scene", count: int) -> tuple["Clip", Iterator["Frame"]]:
    """Return a scene as a clip of RGB frames, ten a second, looping for ever."""
    from PIL import Image

    from vedit.data import scenes
    from vedit.media.frames import Clip, Frame

    pictures = (scenes.clip(scene, count) * 255 + 0.5).byte().permute(0, 2, 3, 1).numpy()
    clip = Clip(
        width=scenes.SIDE,
        height=scenes.SIDE,
        name=scene.caption,
        rate=Fraction(100, DURATION_CS),
        loop=0,
        frames_hint=count,
        duration_hint=count * DURATION_CS,
    )
    frames = (
        Frame(i, i * DURATION_CS, DURATION_CS, "rgb", clip.canvas, Image.fromarray(picture))
        for i, picture in enumerate(pictures)
    )
    return clip, frames


def write_scene(scene: "Scene", output: str, *, frames: int = 8, to: str | None = None) -> None:
    """Write a scene as a GIF, or as whatever the output's name or `to` says."""
    from vedit.media.formats import output_format

    clip, stream = frames_of(scene, frames)
    if output_format(output, to) != "gif":
        from vedit.media.open import write_clip
        from vedit.media.options import WriteOptions

        write_clip(clip, stream, output, WriteOptions(format=to))
        return
    from itertools import chain

    from vedit.media.gif import container as gif
    from vedit.media.gif import lzw
    from vedit.media.gif.quantise import quantise

    quantised = quantise(clip, stream)
    quantised = chain([next(quantised)], quantised)  # the first frame sets the clip's palette
    with open_output(output) as file:
        gif.write_gif(clip, lzw.pack(clip, quantised), file, flush=output == "-")


def draw_scene(
    caption: str | None,
    *,
    seed: int = 0,
    truth: str | None = None,
    grain: float | None = None,
    from_record: str | None = None,
    output: str | None = None,
    truth_output: str | None = None,
    record: str | None = None,
    frames: int = 8,
    to: str | None = None,
) -> dict[str, Any]:
    """Do what `vedit scene` does; return the record of what was drawn."""
    if from_record is not None:
        scene, edited = read_record(from_record)
    else:
        assert caption is not None
        scene, edited = scene_for(caption, seed, truth)
    if grain is not None:
        scene, edited = _with(scene, {"grain": grain}), edited and _with(edited, {"grain": grain})
    if output:
        write_scene(scene, output, frames=frames, to=to)
    if truth_output:
        if edited is None:
            raise UsageError(f"{from_record} holds no edited scene.", "Leave -t out.")
        write_scene(edited, truth_output, frames=frames, to=to)
    drawn = {
        "caption": scene.caption,
        "scene": dataclasses.asdict(scene),
        "truth_caption": edited and edited.caption,
        "truth": edited and dataclasses.asdict(edited),
    }
    if record:
        with open_output(record) as file:
            file.write((json.dumps(drawn) + "\n").encode())
    return drawn


def read_record(path: str) -> tuple["Scene", "Scene | None"]:
    """Read a file that `vedit scene --record` wrote."""
    from vedit.data.scenes import Scene

    drawn = table(read_json(path, RECORD), path, RECORD)
    scene, truth = table(drawn.get("scene"), path, RECORD), drawn.get("truth")
    try:
        return Scene.from_dict(scene), Scene.from_dict(table(truth, path, RECORD)) if truth else None
    except InputError as error:
        raise error.in_file(path) from None
