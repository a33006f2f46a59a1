"""The stages in which the embedded models are trained: their presets, order and needs. Loads no torch."""

from __future__ import annotations

from typing import NamedTuple

EVERY = "shapes-all"  # the preset that goes through the stages of the picture model in turn


class Stage(NamedTuple):
    """One stage.

    name: as a preset file and the run folder call it. preset: the one that ships for it.
    has_batch: its batch and rate may be chosen; the others keep their own. is_video: of the video model.
    in_turn: one of those that EVERY goes through.
    """

    name: str
    preset: str
    has_batch: bool = False
    is_video: bool = False
    in_turn: bool = False


STAGES = (
    Stage("codec", "shapes-codec", in_turn=True),
    Stage("judge", "shapes-judge", in_turn=True),
    Stage("scorer", "shapes-scorer", in_turn=True),
    Stage("unet", "shapes", has_batch=True, in_turn=True),
    Stage("motion", "shapes-motion", has_batch=True),
    Stage("video-codec", "shapes-video-codec", is_video=True),
    Stage("video-pictures", "shapes-video-pictures", has_batch=True, is_video=True),
    Stage("video-pairs", "shapes-video-pairs", has_batch=True, is_video=True),
    Stage("video", "shapes-video", has_batch=True, is_video=True),
    Stage("video-judged", "shapes-video-judged", has_batch=True, is_video=True),
    Stage("instruct", "shapes-instruct", has_batch=True, is_video=True),
    Stage("instruct-judged", "shapes-instruct-judged", has_batch=True, is_video=True),
)
PRESETS = (EVERY, *(stage.preset for stage in STAGES))


def stage_of(name: str) -> Stage:
    """The stage of that name, which a preset that was checked says."""
    return next(stage for stage in STAGES if stage.name == name)
