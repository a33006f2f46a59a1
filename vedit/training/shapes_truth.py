"""Read a drawn or sampled clip without a learned judge: track its object, then the nearest drawing.

The caption says which two colours to tell apart, so the object is where the nearer of the two
is the object's. Its centroid is tracked through the frames. What the middle frame shows is the
shape, colour and background whose plain drawing at that place is nearest in squared error.

Tensor names: F frames, C colours, Y X rows and columns, M outlines, O object tones, G ground tones.
"""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from vedit.data import grammar, scenes

MIN_TRAVEL = 4.0  # pixels over a clip; drawn objects travel 8 to 16 or none
TURNS = (-0.17, 0.0, 0.17)  # of the +-0.25 rad that objects are turned by
SHADE = {"plain": 1.0, "striped": 0.75, "dotted": 0.86}  # mean brightness of a textured object

# What candidates are drawn as, but for shape, size and place.
_PLAIN = replace(
    scenes.sample_records(1, 0)[0],
    texture="plain",
    motion="still",
    x=scenes.SIDE / 2,
    y=scenes.SIDE / 2,
    size_offset=0.0,
    rotation=0.0,
)


def read_clip(clip_FCYX: Tensor, words: Mapping[str, str]) -> dict[str, str]:
    """Return motion, shape, colour and ground of a clip in 0..1 whose caption has the fields `words`.

    A digit is read among the digits, another shape among the others.
    """
    centres_F2 = track(clip_FCYX, words)
    middle = len(clip_FCYX) // 2
    shown = nearest_drawing(clip_FCYX[middle], words, centres_F2[middle])
    return {"motion": motion_of(centres_F2), **shown}


def track(clip_FCYX: Tensor, words: Mapping[str, str]) -> Tensor:
    """Return the object's centroid in each frame: x and y in pixels, F2; the picture's centre where there is
    none.
    """
    mine = [object_tone(words["colour"], 1.0), object_tone(words["colour"], 0.5)][
        : 1 if words["texture"] == "plain" else 2
    ]
    others = [ground_tone(words["ground"], 0.0), ground_tone(words["ground"], 1.0)][
        : 1 if words["pattern"] == "plain" else 2
    ]
    distance_FYX = [
        torch.stack([(clip_FCYX - tone[:, None, None]).square().sum(dim=1) for tone in tones]).amin(dim=0)
        for tones in (mine, others)
    ]
    return centroids((distance_FYX[0] < distance_FYX[1]).float())


def centroids(weight_FYX: Tensor) -> Tensor:
    """Return the centroid of each picture of weights: x and y in pixels, F2."""
    grid = torch.arange(scenes.SIDE) + 0.5
    total_F = weight_FYX.sum(dim=(1, 2))
    x_F, y_F = (weight_FYX * grid).sum(dim=(1, 2)), (weight_FYX * grid[:, None]).sum(dim=(1, 2))
    centres_F2 = torch.stack([x_F, y_F], dim=1) / total_F.clamp_min(1e-6)[:, None]
    return torch.where(total_F[:, None] > 0, centres_F2, torch.full_like(centres_F2, scenes.SIDE / 2))


def motion_of(centres_F2: Tensor) -> str:
    """Name the direction of the straight line through the centroids; `still` when it is short."""
    time_F = torch.linspace(-0.5, 0.5, len(centres_F2))
    x, y = ((time_F @ centres_F2) / time_F.square().sum()).tolist()
    if max(abs(x), abs(y)) < MIN_TRAVEL:
        return "still"
    if abs(x) > abs(y):
        return "right" if x > 0 else "left"
    return "down" if y > 0 else "up"


def nearest_drawing(picture_CYX: Tensor, words: Mapping[str, str], centre_2: Tensor) -> dict[str, str]:
    """Return shape, colour and ground of the drawing nearest to a picture; size and textures as captioned."""
    shapes, masks_MYX = outlines(words, centre_2)
    objects = torch.stack([object_tone(colour, SHADE[words["texture"]]) for colour in grammar.COLOURS])
    grounds = torch.stack(
        [ground_tone(ground, 0.0 if words["pattern"] == "plain" else 0.5) for ground in grammar.GROUNDS]
    )
    error = drawing_errors(picture_CYX, masks_MYX, objects, grounds)
    outline, colour, ground = (int(i) for i in torch.unravel_index(error.argmin(), error.shape))
    return {"shape": shapes[outline], "colour": grammar.COLOURS[colour], "ground": grammar.GROUNDS[ground]}


def drawing_errors(picture_CYX: Tensor, masks_MYX: Tensor, objects_OC: Tensor, grounds_GC: Tensor) -> Tensor:
    """Return the squared error of a picture p to every drawing m o + (1 - m) g, less the sum of p^2: MOG.

    With d = o - g it is the sum over colours of d^2 sum(m^2) + 2 d (g sum(m) - sum(m p)) + g (n g - 2
    sum(p)), so no drawing is made.
    """
    pixels = picture_CYX[0].numel()
    square_M, area_M = masks_MYX.square().sum(dim=(1, 2)), masks_MYX.sum(dim=(1, 2))
    covered_MC = torch.einsum("myx,cyx->mc", masks_MYX, picture_CYX)
    total_C = picture_CYX.sum(dim=(1, 2))
    step_OGC = objects_OC[:, None] - grounds_GC
    error_MOG = torch.einsum("ogc,m->mog", step_OGC.square(), square_M)
    error_MOG += 2 * torch.einsum("ogc,gc,m->mog", step_OGC, grounds_GC, area_M)
    error_MOG -= 2 * torch.einsum("ogc,mc->mog", step_OGC, covered_MC)
    return error_MOG + (grounds_GC * (pixels * grounds_GC - 2 * total_C)).sum(dim=1)


def outlines(words: Mapping[str, str], centre_2: Tensor) -> tuple[list[str], Tensor]:
    """Return every shape of the caption's family, turned a little both ways, with its centroid at a place:
    names, MYX.
    """
    family = grammar.DIGITS if words["shape"] in grammar.DIGITS else grammar.SHAPES
    names = [shape for shape in family for _ in TURNS]
    still = replace(_PLAIN, size=words["size"])
    drawn = scenes.stack([replace(still, shape=shape, rotation=turn) for shape in family for turn in TURNS])
    start = torch.zeros(len(drawn))
    shift_M2 = centre_2 - centroids(scenes.object_mask(drawn, start))
    moved = {"x": drawn.floats["x"] + shift_M2[:, 0], "y": drawn.floats["y"] + shift_M2[:, 1]}
    return names, scenes.object_mask(scenes.Scenes(drawn.fields, {**drawn.floats, **moved}), start)


def object_tone(colour: str, shade: float) -> Tensor:
    return shade * torch.tensor(scenes.OBJECT_RGB[colour])


def ground_tone(ground: str, marked: float) -> Tensor:
    """Return a background's colour where a share `marked` of it carries the pattern's other tone."""
    base = torch.tensor(scenes.GROUND_RGB[ground])
    return base + marked * scenes.pattern_shift(base)
