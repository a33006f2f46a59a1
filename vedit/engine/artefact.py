"""The inversion artefact: one safetensors file with the latents of every saved level and its identity.

Layout of docs/methods.md 1.3: tensors `z0`, `latents/TTTT` (zero-padded timestep), `text/source`, and
`uncond/TTTT` after null-text optimisation; the header's metadata key `vedit` holds one canonical
JSON object. Levels are written as they are computed, some frames at a time, and the file appears
complete or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from vedit import __version__
from vedit.documents import Kind, parse_json, table
from vedit.errors import InputError, UsageError, option
from vedit.models.adapters import by_content

FORMAT = 1
NOT_IDENTITY = (
    "vedit",
    "format",
    "reconstruction",
    "seed",
    "saved",
)  # levels that are kept are the same whichever others are
FREE = (
    "source.sha256",
    "model.id",
    "model.revision",
    "steps",
    "saved",
    "dtype",
    "latent_dtype",
    "kind",
    "fixed_point",
    "null",
)
OTHERS = {
    "model.unet_sha256": "another network",
    "model.transformer_sha256": "another network",
    "model.transformer_2_sha256": "another network",
    "model.vae_sha256": "another autoencoder",
    "model.text_sha256": "another text encoder",
    "model.text_encoder_2_sha256": "another text encoder",
    "model.lora": "other LoRAs",
    "model.control": "other ControlNets",
    "source.pixels_sha256": "another clip",
}
DTYPE_NAMES = {torch.float32: ("F32", 4), torch.float16: ("F16", 2)}
INVERSION = Kind(
    "an inversion",
    next_step="Make one with: vedit invert CLIP -o NAME.inv.safetensors",
    largest=2**26,
    names_files=True,
)


def canonical(facts: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces: equal facts give equal text."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def identity_key(facts: Mapping[str, Any]) -> str:
    """The name of an inversion: SHA-256 of everything that its latents depend on.

    Not of the model's name and revision: the same weights are the same in whatever folder they lie.
    """
    kept = {key: value for key, value in facts.items() if key not in NOT_IDENTITY}
    if isinstance(kept.get("model"), Mapping):
        kept["model"] = _by_content(kept["model"])
    return hashlib.sha256(canonical(kept).encode()).hexdigest()


def _by_content(model: Mapping[str, Any]) -> dict[str, Any]:
    """What of a model's identity decides its weights."""
    kept = {key: value for key, value in model.items() if key not in ("id", "revision")}
    return {**kept, "lora": by_content(kept["lora"])} if "lora" in kept else kept


def level_name(timestep: float, kind: str = "latents") -> str:
    """The name of the tensor of a timestep: of a whole one in four digits, of others all of their own."""
    return f"{kind}/{timestep:04d}" if isinstance(timestep, int) else f"{kind}/{float(timestep)!r}"


class Writer:
    """Write announced tensors, whole or some frames at a time, in any order.

    goes_on: the stream holds what an earlier writer of the same wrote.
    """

    def __init__(
        self,
        stream: BinaryIO,
        shapes: Mapping[str, tuple[int, ...]],
        facts: Mapping[str, Any],
        dtype: torch.dtype = torch.float32,
        *,
        goes_on: bool = False,
    ) -> None:
        name, width = DTYPE_NAMES[dtype]
        header: dict[str, Any] = {
            "__metadata__": {"vedit": canonical({**facts, "vedit": __version__, "format": FORMAT})}
        }
        self.offsets: dict[str, int] = {}
        offset = 0
        for key, shape in shapes.items():
            size = width * int(torch.Size(shape).numel())
            header[key] = {"dtype": name, "shape": list(shape), "data_offsets": [offset, offset + size]}
            self.offsets[key] = offset
            offset += size
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        if not goes_on:
            stream.write(len(text).to_bytes(8, "little") + text)
        self.stream, self.dtype, self.shapes = stream, dtype, dict(shapes)
        self.start, self.missing = 8 + len(text), {key: shape[0] for key, shape in shapes.items()}

    def write(self, name: str, tensor: Tensor, first: int = 0) -> None:
        """Write rows of a tensor, the first of them with index `first`; each row is written once."""
        assert tuple(tensor.shape[1:]) == tuple(self.shapes[name][1:]), (
            name,
            self.shapes[name],
            tuple(tensor.shape),
        )
        content = tensor.detach().to("cpu", self.dtype).contiguous().numpy().tobytes()
        self.stream.seek(self.start + self.offsets[name] + first * (len(content) // len(tensor)))
        self.stream.write(content)
        self.missing[name] -= len(tensor)


@contextmanager
def going_on(
    path: Path, shapes: Mapping[str, tuple[int, ...]], facts: Mapping[str, Any], goes_on: bool
) -> Iterator[Writer]:
    """Write into a file that stays whatever happens, for the same work to go on in."""
    with path.open("r+b" if goes_on else "w+b", buffering=0) as stream:
        yield Writer(stream, shapes, facts, goes_on=goes_on)


@contextmanager
def writing(
    path: str,
    shapes: Mapping[str, tuple[int, ...]],
    facts: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
) -> Iterator[Writer]:
    """Write an artefact that appears under its name only when every announced tensor is in it."""
    from vedit.media.open import seekable_output

    with seekable_output(path) as stream:
        writer = Writer(stream, shapes, facts, dtype)
        yield writer
        assert not any(writer.missing.values()), {name: rows for name, rows in writer.missing.items() if rows}
        stream.flush()
        os.fsync(stream.fileno())


class Artefact:
    """An artefact opened for reading: some frames of one level at a time.

    Read by position, not through a memory map: pages of a map stay resident, and memory would grow
    with the length of the clip.
    """

    def __init__(self, path: str) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        try:
            with safe_open(path, framework="pt") as checked:  # refuses a header that does not fit the file
                text = (checked.metadata() or {}).get("vedit")
            with open(path, "rb") as stream:
                self.start = 8 + int.from_bytes(stream.read(8), "little")
                self.tensors: dict[str, Any] = table(
                    parse_json(stream.read(self.start - 8), path, INVERSION), path, INVERSION
                )
        except (OSError, SafetensorError) as error:
            raise INVERSION.refusal(path, (str(error).splitlines() or [type(error).__name__])[0]) from None
        if text is None:
            raise InputError(
                f"{path}: a safetensors file, but not an inversion.",
                "",
                "Make one with: vedit invert CLIP -o NAME.inv.safetensors",
            )
        self.facts: dict[str, Any] = table(parse_json(text, path, INVERSION), path, INVERSION)
        if unknown := {entry["dtype"] for name, entry in self.tensors.items() if name != "__metadata__"} - {
            spelling for spelling, _ in DTYPE_NAMES.values()
        }:
            raise InputError(
                f"{path}: an inversion in {', '.join(sorted(unknown))}, this vedit reads F32 and F16.",
                "",
                "Invert again with: vedit invert",
            )
        if self.facts.get("format") != FORMAT:
            raise InputError(
                f"{path}: inversion format {self.facts.get('format')}, this vedit reads {FORMAT}.",
                "",
                "Invert again with: vedit invert",
            )
        self.names = [name for name in self.tensors if name != "__metadata__"]

    def read(self, name: str, rows: slice = slice(None)) -> Tensor:
        """Some rows of a tensor, float32."""
        facts = self.tensors[name]
        first, stop, _ = rows.indices(facts["shape"][0])
        dtype = next(kind for kind, (spelling, _) in DTYPE_NAMES.items() if spelling == facts["dtype"])
        begin, end = facts["data_offsets"]
        row = (end - begin) // facts["shape"][0]
        with open(self.path, "rb") as stream:
            stream.seek(self.start + begin + first * row)
            content = bytearray(stream.read((stop - first) * row))
        return torch.frombuffer(content, dtype=dtype).reshape(stop - first, *facts["shape"][1:]).float()

    @property
    def key(self) -> str:
        return identity_key(self.facts)

    @property
    def saved(self) -> list[Any]:
        """The timesteps whose latents are stored, noisiest first."""
        return self._levels("latents")

    def _levels(self, kind: str) -> list[Any]:
        names = [key.split("/")[1] for key in self.names if key.startswith(f"{kind}/")]
        return sorted((int(name) if name.isdigit() else float(name) for name in names), reverse=True)

    def latents(self, timestep: float | None, frames: slice = slice(None)) -> Tensor:
        """The latents of some frames at a timestep, (F, C, Y, X) float32; None gives those of the clip."""
        return self.read("z0" if timestep is None else level_name(timestep), frames)

    def text(self) -> Tensor:
        return self.read("text/source")

    @property
    def null_steps(self) -> list[Any]:
        """The timesteps with an optimised null embedding, noisiest first; none without null-text
        optimisation.
        """
        return self._levels("uncond")

    def uncond(self, timestep: float, frames: slice = slice(None)) -> Tensor:
        """The optimised null embedding of a timestep: (1, L, E) where the frames share it, else (F, L, E)."""
        name = level_name(timestep, "uncond")
        return self.read(name, frames if self.tensors[name]["shape"][0] > 1 else slice(None))

    def check_null_text(self, timesteps: Sequence[float], guidance: float) -> None:
        """Null embeddings serve the steps and the guidance that they were optimised for."""
        if self.null_steps != list(timesteps):
            raise UsageError(
                f"{self.path}: its null embeddings were optimised for {len(self.null_steps)} steps, this edit"
                f" takes {len(timesteps)}.",
                "",
                f"Try {option('steps', len(self.null_steps))}, or {option('set.null_text', 'none')}",
            )
        wanted = float(self.facts["null"]["guidance"])
        if wanted != guidance:
            raise UsageError(
                f"{self.path}: its null embeddings were optimised for guidance {wanted:g}, this edit has"
                f" {guidance:g}.",
                "",
                f"Try {option('set.guidance', wanted)}, or {option('set.null_text', 'none')}",
            )

    def check_against(self, facts: Mapping[str, Any], *, same_prompt: bool) -> None:
        """Refuse an inversion of another model, clip, size or prompt, naming the first field that differs,
        hashes last.

        Not compared: what a finer inversion may have otherwise, and names. Weights and pixels with
        the same hash are the same, whatever folder, revision or file they lie in.
        """
        found = [
            difference
            for difference in _differences(self.facts, facts)
            if difference[0] not in FREE and difference[0].split(".")[0] not in NOT_IDENTITY
        ]
        for field, ours, theirs in sorted(found, key=lambda difference: difference[0].endswith("sha256")):
            if field == "prompt" and not same_prompt:
                continue
            told = (
                f"made with {OTHERS[field]} ({field} differs)"
                if field in OTHERS
                else f"inverted with {field} = {ours!r}, this edit has {theirs!r}"
            )
            raise UsageError(
                f"{self.path}: {told}.",
                "An inversion fits one model, clip, size and source prompt.",
                f"Invert again, or leave out {option('inversion')}",
            )


def _differences(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(set(ours) | set(theirs)):
        if key == "format":
            continue
        a, b = ours.get(key), theirs.get(key)
        if key == "lora":
            a, b = by_content(a or ()), by_content(b or ())
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}", a, b
