"""Train the embedded video model: a Wan-layout transformer over the latents of drawn clips.

First single pictures, each a clip of one latent frame; then two of a clip's five latent frames, in
the places that they have there, which teaches where a motion leads at two fifths of the cost; then
clips of nine frames, five latent frames. The codec (`shapes_video_codec`) codes each latent frame
as the picture model's codec codes one picture, so this stage needs no other codec. The text encoder
is the picture model's, held fixed.

While single pictures train, the picture model is the teacher: at the levels that its own schedule
knows, the wanted velocity is what it predicts for the same latent and caption, a mean over every
picture that may be meant, where n - x would be one of them drawn by chance. The features of a
middle layer are aligned with those of the embedded judge (REPA), by a head that is not shipped.

Levels of pictures are uniform. Those of clips are shifted towards noise until the end of training,
since a path is decided there (Esser et al. 2024, equation 23), and paths are as long as the frame
has room for, so that a word of motion explains more of what is seen.

Most pairs show their first frame at a level of its own, almost clean: where the object is in the other,
only the motion's word says. A head that is not shipped either tells from a middle layer where the object
lies and goes, since words of direction, order of frames and places are learnt together or not at all.

Source: flow matching, Lipman et al. 2023; alignment, Yu et al. 2024 (REPA); a level of its own
for a frame, Chen et al. 2024 (diffusion forcing). Deviations: the teacher, the path that a middle layer
tells, clips seen in part, and that only the first frame has its own level.

Tensor names: B clips, F latent frames of each, N pictures (B x F), C latent channels, Y X latent
rows and columns, T transformer tokens, L text tokens, E text width, D feature width.
"""

from collections.abc import Callable
from typing import Any, Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from vedit.data import grammar, scenes, vocabulary
from vedit.engine.embedded import sample_videos
from vedit.models.flow import shifted
from vedit.models.shapes import video
from vedit.models.shapes.codec import decode
from vedit.models.shapes.judge import Judge
from vedit.models.shapes.text import padded
from vedit.models.wan.conditions import Positions
from vedit.training import flow, shapes
from vedit.training.loop import seeded
from vedit.training.shapes_gates import judged, read_right, shares
from vedit.training.shapes_unet import Drawing, LatentTask

CLIP_FRAMES = 9
LATENT_FRAMES = 5  # the first picture, then one for every two
PAIR = 2  # latent frames of a clip that its first stage sees
SAYS_MOTION = 0.9
VIEWS: dict[str, dict[str, Any]] = {  # what each stage sees; at a shift of 3, 43 % of the levels are above .8
    "video-pictures": {"frames": 1},
    "video-pairs": {
        "frames": LATENT_FRAMES,
        "seen": PAIR,
        "shown": 0.6,
        "shift": 3.0,
        "reuse": 10,  # each turn of a block shows other frames of its clips
    },
    "video": {"frames": LATENT_FRAMES, "shown": 0.3, "shift": 3.0},
    "video-judged": {"frames": LATENT_FRAMES, "mask_weight": 0.0},
}
SHOWN_LEVEL = 0.3  # at most, of a first frame that is shown
TAUGHT_TURNS = 2  # the teacher costs half as much as the step it teaches
ALIGN_WEIGHT = 0.5
PATH_WEIGHT = 1.0
PATH = 9  # what each token tells: where the object lies and lay first, how far it came, its step, the time
ALIGNED_BLOCK = 1  # the second of four
SAMPLE_SEED = 9_000_011


class Video(nn.Module):
    """What this stage trains: the transformer, and what reads a middle layer: the head that is compared with
    the judge's features, and the path that is compared with where the object is and goes.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.transformer = video.transformer(channels)
        self.transformer.rope = self.positions = Positions(self.transformer.rope)
        width = video.TRANSFORMER["num_attention_heads"] * video.TRANSFORMER["attention_head_dim"]
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, JUDGE_WIDTH)
        )
        self.path = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, PATH))
        self.features: Tensor | None = None
        self.transformer.blocks[ALIGNED_BLOCK].register_forward_hook(self._keep)

    def _keep(self, block: nn.Module, inputs: Any, hidden_BTD: Tensor) -> None:
        self.features = hidden_BTD.float()  # its readers work in full precision


TOKENS = 64  # of a latent frame
JUDGE_LAYERS, JUDGE_WIDTH = 9, 96  # three strided convolutions: 8x8, as many places as tokens


@torch.no_grad()
def judge_features(judge: Judge, pictures_NCYX: Tensor) -> Tensor:
    """Return the judge's features at 8x8 places, as NTD, of length one."""
    maps_NDYX = judge.body[:JUDGE_LAYERS](2 * pictures_NCYX - 1)
    return functional.normalize(maps_NDYX.flatten(2).transpose(1, 2), dim=2)


class Teacher:
    """The picture model as a velocity network."""

    def __init__(self, unet: Any, alpha_bar_T: Tensor) -> None:
        self.unet = unet
        self.signal_T = alpha_bar_T.sqrt()
        self.low, self.high = (float(level_of(signal)) for signal in (self.signal_T[0], self.signal_T[-1]))

    def knows(self, level_B: Tensor) -> Tensor:
        """Tell which levels lie within the picture model's schedule."""
        return (level_B >= self.low) & (level_B <= self.high)

    @torch.no_grad()
    def velocity(self, noisy_BCYX: Tensor, level_B: Tensor, text_BLE: Tensor) -> Tensor:
        """Return the mean of n - x at a latent of the straight path, as the picture model sees it.

        The straight path's (1 - s) x + s n, divided by its deviation r = sqrt((1 - s)^2 + s^2), is
        a latent a x + b n of the picture model with a = (1 - s) / r, b = s / r. Of its
        v = a n - b x follow x and n.
        """
        level = level_B[:, None, None, None]
        spread = ((1 - level).square() + level.square()).sqrt()
        signal, noise = (1 - level) / spread, level / spread
        scaled = noisy_BCYX / spread
        v = self.unet(scaled, self.timesteps(signal.flatten()), encoder_hidden_states=text_BLE).sample
        return (noise * scaled + signal * v) - (signal * scaled - noise * v)

    def timesteps(self, signal_B: Tensor) -> Tensor:
        """Return the timesteps, with fractions, at which the picture model's signal is this strong."""
        falling = self.signal_T.neg()
        after = torch.searchsorted(falling, -signal_B).clamp(1, len(falling) - 1)
        before = after - 1
        share = (self.signal_T[before] - signal_B) / (self.signal_T[before] - self.signal_T[after])
        return before + share.clamp(0, 1)


def level_of(signal: Tensor) -> Tensor:
    """Return the level s at which (1 - s) / sqrt((1 - s)^2 + s^2) is `signal`."""
    ratio = (1 - signal.square()).sqrt() / signal
    return ratio / (1 + ratio)


class VideoTask(LatentTask):
    """The velocity of single pictures (frames 1), of clips (frames 5) or of parts of them."""

    model: Video

    def __init__(
        self,
        codec: Any,
        judge: Judge | None,
        picture: Any,
        *,
        frames: int,
        seen: int | None = None,
        shown: float = 0.0,
        shift: float = 1.0,
        taught: bool = True,
        align: float = ALIGN_WEIGHT,
        **drawing: Unpack[Drawing],
    ) -> None:
        """picture: the picture model, whose text encoder this stage uses. frames: latent frames that are
        drawn of each scene. seen: how many of them a step sees; all by default. shown: the share
        of clips whose first frame is almost clean. shift: of the other levels towards noise. taught:
        whether the picture model's denoiser is the teacher of single pictures.
        """
        self.drawn_frames, self.frames, self.shown = frames, seen or frames, shown
        super().__init__(codec, judge, **drawing)
        torch.manual_seed(self.seed)
        self.model = Video(codec.config.latent_channels).to(self.device)
        self.text_encoder = picture.text_encoder.to(self.device).requires_grad_(False).eval()
        self.teacher = (
            Teacher(picture.unet.to(self.device).requires_grad_(False).eval(), self.signal_T.square())
            if taught and frames == 1
            else None
        )
        self.lessons: dict[str, Tensor] = {}
        self.taught_at = -1
        self.align = align if judge is not None else 0.0
        self.shift, self.far = shift, frames > 1
        for name in ("unet", "scheduler"):
            del self.config[name]
        said = {"says_motion": SAYS_MOTION if frames > 1 else "as pictures"}
        view = {"seen": self.frames, "shift": shift, "far": self.far, "shown": shown, "path": PATH}
        self.config |= (view if frames > 1 else {}) | {
            "transformer": video.TRANSFORMER,
            "frames": frames,
            "taught": TAUGHT_TURNS if self.teacher is not None else 0,
            "align": self.align,
            **said,
        }

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        if self.drawn_frames == 1:
            return torch.rand(count, 1, generator=generator, device=self.device)
        return torch.linspace(0, 1, self.drawn_frames, device=self.device).expand(count, self.drawn_frames)

    def places(self, step: int) -> list[int]:
        """Return which of the drawn frames a step sees: all, or the two ends of a part of the clip, with
        parts of every length equally often.
        """
        if self.frames == self.drawn_frames:
            return list(range(self.frames))
        assert self.frames == PAIR, "parts of clips are pairs of frames"
        draw = seeded(self.seed, 9, step)
        length = int(torch.randint(1, self.drawn_frames, (), generator=draw))
        first = int(torch.randint(self.drawn_frames - length, (), generator=draw))
        return [first, first + length]

    def seen(self, step: int, drawn_BF: Tensor) -> Tensor:
        return drawn_BF if self.frames == self.drawn_frames else drawn_BF[:, self.places(step)]

    def captions(self, batch: scenes.Scenes, seed: int) -> list[str]:
        return (
            super().captions(batch, seed)
            if self.drawn_frames == 1
            else scenes.varied_captions(batch, seed, SAYS_MOTION)
        )

    def coded(self, pictures_NCYX: Tensor) -> dict[str, Tensor]:
        kept = super().coded(pictures_NCYX)
        return (
            {**kept, "features": judge_features(self.judge, pictures_NCYX).half()}
            if self.align and self.judge is not None
            else kept
        )

    def losses(self, step: int) -> dict[str, Tensor]:
        lesson = self._lesson(step) if self.teacher is None else self._repeated(step)
        with torch.no_grad():
            text_BLE = padded(
                self.text_encoder(lesson["ids"]).last_hidden_state, lesson["ids"], vocabulary.end_id()
            )
        with shapes.precision(self.device, self.precision), self.model.positions.at(self.places(step)):
            v_BCFYX = video.predict(
                self.model.transformer,
                lesson["noisy"].transpose(1, 2),
                self._heard(lesson["level"]),
                text_BLE,
            )
        losses = self.weighed(
            (v_BCFYX.float().transpose(1, 2) - lesson["wanted"]).flatten(0, 1), lesson["mask"].flatten(0, 1)
        )
        if self.drawn_frames > 1:
            losses = self._led(losses, self.scenes[lesson["rows"]], self.places(step))
        return (
            self._aligned(losses, self.seen(step, self.block["features"][lesson["rows"]]))
            if self.align
            else losses
        )

    @torch.no_grad()
    def _lesson(self, step: int) -> dict[str, Tensor]:
        """Draw noise, levels and captions for the scenes of a step; return what the network sees and should
        answer, a row for each.
        """
        generator = seeded(self.seed, 3, step, self.device)
        latents_NCYX, mask_NYX, batch = self._batch(step, generator)
        noise_NCYX = torch.randn(latents_NCYX.shape, generator=generator, device=self.device)
        level_BF = self._levels(generator)
        ids_BL = self._token_ids(batch, step, generator)
        level_N = level_BF.flatten()
        noisy_NCYX = flow.mixed(latents_NCYX, noise_NCYX, level_N)
        wanted_NCYX = self._wanted(flow.velocity(latents_NCYX, noise_NCYX), noisy_NCYX, level_N, ids_BL)
        frames = {"noisy": noisy_NCYX, "wanted": wanted_NCYX, "mask": mask_NYX}
        shared = {"rows": self._rows(step), "level": level_BF, "ids": ids_BL}
        return {**{name: value.unflatten(0, (-1, self.frames)) for name, value in frames.items()}, **shared}

    def _levels(self, generator: torch.Generator) -> Tensor:
        """Draw a level for each frame, BF: one for a clip, but for first frames that are shown."""
        level_B = shifted(stratified_levels(self.batch, generator), self.shift)
        level_BF = level_B[:, None].repeat(1, self.frames)
        if self.shown:
            low_B = SHOWN_LEVEL * torch.rand(self.batch, generator=generator, device=self.device)
            is_shown = torch.rand(self.batch, generator=generator, device=self.device) < self.shown
            level_BF[:, 0] = torch.where(is_shown, low_B, level_B)
        return level_BF

    def _heard(self, level_BF: Tensor) -> Tensor:
        """Return the levels as the network hears them: one for a clip, or one for each token."""
        if not self.shown:
            return level_BF[:, 0]
        return level_BF.repeat_interleave(TOKENS, dim=1)

    def _repeated(self, step: int) -> dict[str, Tensor]:
        """Return the lesson of a step whose scenes hear each answer of the teacher in TAUGHT_TURNS turns of a
        block, in new company.
        """
        turn = step % (self.blocks_of * self.reuse) // self.blocks_of
        first = step - step % self.blocks_of - turn % TAUGHT_TURNS * self.blocks_of
        if first != self.taught_at:
            lessons = [self._lesson(each) for each in range(first, first + self.blocks_of)]
            table = {name: torch.cat([lesson[name] for lesson in lessons]) for name in lessons[0]}
            order = table["rows"].argsort()
            self.lessons, self.taught_at = {name: value[order] for name, value in table.items()}, first
        rows = self._rows(step)
        return {name: value[rows] for name, value in self.lessons.items()}

    def _wanted(self, drawn_NCYX: Tensor, noisy_NCYX: Tensor, level_N: Tensor, ids_BL: Tensor) -> Tensor:
        if self.teacher is None:
            return drawn_NCYX
        text_BLE = self.text_encoder(ids_BL).last_hidden_state
        known = self.teacher.knows(level_N)[:, None, None, None]
        return torch.where(known, self.teacher.velocity(noisy_NCYX, level_N, text_BLE), drawn_NCYX)

    def _aligned(self, losses: dict[str, Tensor], features_BFTD: Tensor) -> dict[str, Tensor]:
        """Add one minus the cosine between a middle layer's tokens and the judge's features."""
        assert self.model.features is not None
        mine_BTD = functional.normalize(self.model.head(self.model.features), dim=2)
        theirs_BTD = features_BFTD.flatten(1, 2).float()
        apart = 1 - (mine_BTD * theirs_BTD).sum(dim=2).mean()
        return {**losses, "loss": losses["loss"] + self.align * apart, "apart": apart}

    def _led(self, losses: dict[str, Tensor], batch: scenes.Scenes, places: list[int]) -> dict[str, Tensor]:
        """Add how far off a middle layer's tokens are about the object's path."""
        assert self.model.features is not None
        told_BTP = self.model.path(self.model.features)
        off = (
            (told_BTP - path_of(batch, [place / (self.drawn_frames - 1) for place in places])).square().mean()
        )
        return {**losses, "loss": losses["loss"] + PATH_WEIGHT * off, "path": off}

    def measure(self, model: nn.Module, step: int) -> dict[str, Any]:
        if self.drawn_frames == 1:
            if self.judge is None:
                return {}
            records, pictures_BCYX = sampled_pictures(model.transformer, self.text_encoder, self.codec, 96)
            return {
                name: row["share"] for name, row in shares(judged(self.judge, records, pictures_BCYX)).items()
            }
        records, clips = sampled_clips(model.transformer, self.text_encoder, self._draw_keys, 32)
        return {name: row["share"] for name, row in shares(read_right(records, clips)).items()}

    def _draw_keys(self, latents_BCFYX: Tensor) -> Tensor:
        """Draw the frames that have latents, BFCYX, with the picture model's codec."""
        return decode(self.codec, latents_BCFYX.transpose(1, 2).flatten(0, 1)).unflatten(
            0, (len(latents_BCFYX), -1)
        )


def path_of(batch: scenes.Scenes, times: list[float]) -> Tensor:
    """Return what each token should tell of its object's path, BTP: x and y from the token to the object
    in its own frame and in the first of the frames, and how far it came between them, in quarters of the
    frame's side; the motion's step; and the time in 0..1.
    """
    side = round(TOKENS**0.5)
    middle_S = (torch.arange(side, device=batch.device) + 0.5) * (scenes.SIDE / side)
    grid_T2 = torch.stack(torch.meshgrid(middle_S, middle_S, indexing="xy"), dim=-1).flatten(0, 1)
    centre_BF2 = torch.stack([scenes.centre(batch, time) for time in times], dim=1)
    own = centre_BF2[:, :, None] - grid_T2
    first = centre_BF2[:, :1, None] - grid_T2
    step = scenes.step(batch)[:, None, None].expand_as(own)
    time_1F11 = torch.tensor(times, device=batch.device)[None, :, None, None]
    lengths = [4 * part / scenes.SIDE for part in (own, first.expand_as(own), own - first)]
    return torch.cat([*lengths, step, time_1F11.expand_as(own[..., :1])], -1).flatten(1, 2)


def stratified_levels(count: int, generator: torch.Generator) -> Tensor:
    """Draw one level from each of `count` equal slices of 0..1, in random order."""
    device = generator.device
    offsets = torch.rand(count, generator=generator, device=device)
    return (torch.randperm(count, generator=generator, device=device) + offsets) / count


def sampled_pictures(
    network: Any, text_encoder: Any, codec: Any, count: int
) -> tuple[list[scenes.Scene], Tensor]:
    """Sample a picture for each of `count` plain captions of held-out scenes."""
    records = scenes.sample_records(count, SAMPLE_SEED, held_out=True)
    captions = [grammar.caption(record.fields, show_motion=False) for record in records]
    latents_BCFYX = sample_videos(
        video.VideoNetwork(network), text_encoder, captions, frames=1, steps=25, seed=SAMPLE_SEED
    )
    return records, decode(codec, latents_BCFYX[:, :, 0])


def sampled_clips(
    network: Any,
    text_encoder: Any,
    draw: Callable[[Tensor], Tensor],
    count: int,
    *,
    steps: int = 25,
    digits: float = 0.0,
) -> tuple[list[scenes.Scene], list[Tensor]]:
    """Sample a clip, FCYX in 0..1, for each of `count` captions of held-out scenes.

    digits: the share of them that show a digit. draw: turns latents into clips, BCFYX into BFCYX.
    """
    records = scenes.sample_records(count, SAMPLE_SEED, held_out=True, digits=digits)
    sampled, clips = video.VideoNetwork(network), []
    for start in range(0, count, 8):
        captions = [record.caption for record in records[start : start + 8]]
        latents_BCFYX = sample_videos(
            sampled, text_encoder, captions, frames=LATENT_FRAMES, steps=steps, seed=SAMPLE_SEED + start
        )
        clips += [*draw(latents_BCFYX).cpu()]
    return records, clips
