"""The inversion artefact: one safetensors file with the latents of every saved level and its identity.

Layout of `methods.md` 1.3: tensors `z0`, `latents/TTTT` (zero-padded timestep), `text/source`, and
`uncond/TTTT` after null-text optimisation; the header's metadata key `vedit` holds one canonical
JSON object. Levels are appended as they are computed, and the file appears complete or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import torch
from torch import Tensor

from vedit import __version__
from vedit.errors import InputError, UsageError

FORMAT = 1
NOT_IDENTITY = ("vedit", "reconstruction", "seed")
DTYPE_NAMES = {torch.float32: ("F32", 4), torch.float16: ("F16", 2)}


def canonical(facts: Mapping[str, Any]) -> str:
    """JSON with sorted keys and no spaces: equal facts give equal text."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def identity_key(facts: Mapping[str, Any]) -> str:
    """The name of an inversion: SHA-256 of everything that its latents depend on."""
    return hashlib.sha256(canonical({key: value for key, value in facts.items() if key not in NOT_IDENTITY}).encode()).hexdigest()


class Writer:
    """Append tensors in the order their names were announced."""

    def __init__(self, stream: BinaryIO, shapes: Mapping[str, tuple[int, ...]], facts: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> None:
        name, width = DTYPE_NAMES[dtype]
        header: dict[str, Any] = {"__metadata__": {"vedit": canonical({**facts, "vedit": __version__, "format": FORMAT})}}
        offset = 0
        for key, shape in shapes.items():
            size = width * int(torch.Size(shape).numel())
            header[key] = {"dtype": name, "shape": list(shape), "data_offsets": [offset, offset + size]}
            offset += size
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 8)
        stream.write(len(text).to_bytes(8, "little") + text)
        self.stream, self.dtype = stream, dtype
        self.expected = list(shapes.items())

    def append(self, name: str, tensor: Tensor) -> None:
        """Write the next tensor; it must be the one announced next."""
        key, shape = self.expected.pop(0)
        assert (key, tuple(shape)) == (name, tuple(tensor.shape)), (key, shape, name, tuple(tensor.shape))
        self.stream.write(tensor.detach().to("cpu", self.dtype).contiguous().numpy().tobytes())


@contextmanager
def writing(path: str, shapes: Mapping[str, tuple[int, ...]], facts: Mapping[str, Any], dtype: torch.dtype = torch.float32) -> Iterator[Writer]:
    """Write an artefact that appears under its name only when every announced tensor is in it."""
    from vedit.media.atomic import open_output

    with open_output(path) as stream:
        writer = Writer(stream, shapes, facts, dtype)
        yield writer
        assert not writer.expected, [name for name, _ in writer.expected]
        stream.flush()
        if stream.seekable():
            os.fsync(stream.fileno())


class Artefact:
    """An artefact opened for reading: levels are read one at a time from the memory map."""

    def __init__(self, path: str) -> None:
        from safetensors import SafetensorError, safe_open

        self.path = path
        try:
            self.file = safe_open(path, framework="pt")
            text = (self.file.metadata() or {}).get("vedit")
        except (OSError, SafetensorError) as error:
            raise InputError(
                f"{path}: not an inversion: {str(error).splitlines()[0]}.", "", "Make one with: vedit invert CLIP -o NAME.inv.safetensors"
            ) from None
        if text is None:
            raise InputError(f"{path}: a safetensors file, but not an inversion.", "", "Make one with: vedit invert CLIP -o NAME.inv.safetensors")
        self.facts: dict[str, Any] = json.loads(text)
        if self.facts.get("format") != FORMAT:
            raise InputError(f"{path}: inversion format {self.facts.get('format')}, this vedit reads {FORMAT}.", "", "Invert again with: vedit invert")
        self.keys = set(self.file.keys())

    @property
    def key(self) -> str:
        return identity_key(self.facts)

    @property
    def saved(self) -> list[int]:
        """The timesteps whose latents are stored, noisiest first."""
        return sorted((int(key.split("/")[1]) for key in self.keys if key.startswith("latents/")), reverse=True)

    def latents(self, timestep: int | None) -> Tensor:
        """The latents at a timestep, (F, C, Y, X) float32; None gives those of the clip."""
        return self.file.get_tensor("z0" if timestep is None else f"latents/{timestep:04d}").float()  # type: ignore[no-any-return]

    def text(self) -> Tensor:
        return self.file.get_tensor("text/source").float()  # type: ignore[no-any-return]

    def uncond(self, timestep: int) -> Tensor | None:
        """The optimised null embedding of a timestep, (1 or F, L, E); None without null-text optimisation."""
        name = f"uncond/{timestep:04d}"
        return self.file.get_tensor(name).float() if name in self.keys else None

    def check_steps(self, timesteps: list[int]) -> None:
        """Every sampling timestep must be stored; says which step counts fit."""
        missing = [t for t in timesteps if t not in set(self.saved)]
        if missing:
            saved = len(self.saved)
            fits = [n for n in range(1, saved + 1) if saved % n == 0]
            raise UsageError(
                f"{self.path}: holds {saved} levels, and {len(timesteps)} steps need timestep {missing[0]}, which is not among them.",
                f"Step counts that fit: {', '.join(map(str, fits[-6:]))}.",
                f"Try --steps {saved}",
            )

    def check_against(self, facts: Mapping[str, Any], *, same_prompt: bool) -> None:
        """Refuse an inversion of another model, clip, size or prompt, naming the field."""
        for field, ours, theirs in _differences(self.facts, facts):
            if field.startswith("prompt") and not same_prompt:
                continue
            if field in ("source.sha256", "steps", "saved") or field.split(".")[0] in NOT_IDENTITY or field in ("dtype", "latent_dtype", "kind", "fixed_point"):
                continue  # another file with the same pixels will do, and so will a finer inversion
            raise UsageError(
                f"{self.path}: inverted with {field} = {ours!r}, this edit has {theirs!r}.",
                "An inversion fits one model, clip, size and source prompt.",
                "Invert again, or leave out --inversion",
            )


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    for key in sorted(set(ours) | set(theirs)):
        if key == "format":
            continue
        a, b = ours.get(key), theirs.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from _differences(a, b, f"{prefix}{key}.")
        elif a != b:
            yield f"{prefix}{key}", a, b
