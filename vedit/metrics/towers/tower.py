"""What the towers share: weights read strictly, a network built when the first feature is missing, features
kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vedit.documents import Kind, parse_json, table
from vedit.errors import ModelError, read_fault
from vedit.metrics.towers.features import Features, FeatureStore, feature_key
from vedit.metrics.towers.files import Found, WeightFinder
from vedit.metrics.types import Floats, Options, Pixels

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    State = dict[str, Tensor]

LARGEST_HEADER = 100 << 20  # bytes; safetensors' own limit


class Tower:
    """One network of the metrics.

    A subclass has `build(state)`, which makes its networks out of the file's tensors, and methods
    that give features through `kept`. The networks are built when the first feature is missing and
    dropped by `free`; before that `make_room` is told, so that one large tower is in memory at a time.
    """

    is_light: ClassVar[bool] = False  # small enough to stay beside another one
    half_is_safe: ClassVar[bool] = True  # whether `--dtype` holds; else always float32

    def __init__(
        self,
        name: str,
        finder: WeightFinder,
        options: Options,
        store: FeatureStore,
        make_room: Callable[[Tower], None],
    ) -> None:
        self.name, self.finder, self.options, self.store, self.make_room = (
            name,
            finder,
            options,
            store,
            make_room,
        )
        self._net: Any = None

    def build(self, state: State) -> Any:
        """The networks, made from the tensors of the file.

        Raises ModelError naming a key that does not fit.
        """
        raise NotImplementedError

    @cached_property
    def found(self) -> Found:
        return self.finder.find(self.name)

    @cached_property
    def sha256(self) -> str:
        return self.finder.sha256(self.found.path)

    @property
    def provenance(self) -> dict[str, Any]:
        return {**self.finder.provenance(self.found), "dtype": self.precision}

    @property
    def is_loaded(self) -> bool:
        return self._net is not None

    @property
    def net(self) -> Any:
        """The networks, in memory from the first use on."""
        if self._net is None:
            self.make_room(self)
            state = read_state(self.found.path)
            try:
                self._net = self.build(state)
            except ModelError as error:
                raise error.in_file(str(self.found.path)) from None
        return self._net

    def free(self) -> None:
        """Drop the networks; features stay."""
        self._net = None

    @cached_property
    def device(self) -> torch.device:
        from vedit.models.place import choose_device

        return choose_device(self.options.device)

    @cached_property
    def dtype(self) -> torch.dtype:
        from vedit.models.place import choose_dtype

        return choose_dtype(self.options.dtype if self.half_is_safe else "fp32", self.device)

    @cached_property
    def precision(self) -> str:
        """The name of the dtype; known without torch where it does not depend on the device."""
        if not self.half_is_safe:
            return "fp32"
        return (
            {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[str(self.dtype).removeprefix("torch.")]
            if self.options.dtype == "auto"
            else self.options.dtype
        )

    def key(self, *what: str) -> str:
        """The name under which features of this file and dtype are kept."""
        return feature_key(self.name, self.sha256, self.precision, *what)

    def kept(self, compute: Callable[[], Features], *what: str) -> Features:
        """Features that depend on this file, the dtype and `what`: the kept ones, or those computed now."""
        key = self.key(*what)
        found = self.store.get(key)
        if found is None:
            import torch

            # TensorFloat-32 in convolutions would move the third digit on a GPU
            with (
                torch.inference_mode(),
                torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False),
            ):
                found = compute()
            self.store.put(key, found)
        return found

    def ready(
        self, net: nn.Module, state: State, layout: Layout | None = None, ignore: tuple[str, ...] = ()
    ) -> nn.Module:
        """A network made by `empty`, filled from a file's tensors, on the device and in the dtype of the
        options.
        """
        fill(net, state, layout or same_names, ignore, self.device, self.dtype)
        return net.eval().requires_grad_(False)

    def batches(
        self, frames_TYX3: Pixels, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> Iterator[Tensor]:
        """Frames as normalised batches (t, 3, Y, X), `options.batch` at a time."""
        import torch

        shift, scale = (torch.tensor(value, device=self.device).view(3, 1, 1) for value in (mean, std))
        for start in range(0, len(frames_TYX3), self.options.batch):
            part = torch.from_numpy(
                np.ascontiguousarray(frames_TYX3[start : start + self.options.batch].transpose(0, 3, 1, 2))
            ).to(self.device)
            yield ((part.float() / 255 - shift) / scale).to(self.dtype)


def to_numpy(tensor: Tensor) -> Floats:
    """A tensor as float32 in memory of its own."""
    found: Floats = tensor.detach().float().cpu().numpy().copy()
    return found


def read_state(path: Path) -> State:
    """The tensors of a safetensors file or a pickle, mapped rather than read; a wrapping {"model": ...} is
    taken off.

    Raises ModelError for a file that is neither, or that holds more than tensors.
    """
    import pickle
    import zipfile

    import torch

    try:
        if path.suffix == ".safetensors":
            return _map_safetensors(path)
        state = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )  # files of torch before 1.6 are no zip files
    except (
        OSError,
        RuntimeError,
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
    ) as error:
        raise ModelError(
            f"{path}: the weights cannot be read: {read_fault(error)}.", "", "Fetch the file again."
        ) from None
    while (
        isinstance(state, dict) and len(state) == 1 and isinstance(inner := next(iter(state.values())), dict)
    ):
        state = inner
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelError(f"{path}: not a file of tensors by name.", "", "Fetch the file again.")
    return state


def _map_safetensors(path: Path) -> State:
    """Each tensor of a safetensors file in a mapping of its own.

    The library maps the file once, and its pages stay in memory until the last tensor goes; here those of
    tensors that are copied or converted go at once, a quarter of the largest tower.
    """
    import torch

    dtypes = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
    }
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= min(LARGEST_HEADER, path.stat().st_size - 8):
            raise ValueError("its header is cut off.")
        kind = Kind("a header", ModelError, largest=LARGEST_HEADER, deepest=4)
        header = table(parse_json(stream.read(length), str(path), kind), str(path), kind)
    state = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            content = np.memmap(path, np.uint8, "c", 8 + length + begin, (end - begin,))
            state[name] = torch.from_numpy(content).view(dtypes[entry["dtype"]]).view(entry["shape"])
    return state


def empty(make: Callable[[], nn.Module]) -> nn.Module:
    """A network without memory for its weights and without the time of their initialisation."""
    import torch

    with torch.device("meta"):
        return make()


@dataclass(frozen=True)
class Part:
    """How a network's tensor lies in a file: the names and shapes there, and how they become it."""

    names: tuple[str, ...]
    shape: tuple[int, ...]
    make: Callable[..., Tensor] = lambda tensor: tensor


# from a network's key and shape to its part of the file
Layout = Callable[[str, tuple[int, ...]], Part]


def same_names(name: str, shape: tuple[int, ...]) -> Part:
    """The layout of a file whose keys are the network's."""
    return Part((name,), shape)


def renamed(table: Sequence[tuple[str, str]]) -> Callable[[str], str]:
    """Replace the first pattern of each pair that matches, one pair after another."""
    return lambda name: reduce(lambda text, pair: re.sub(pair[0], pair[1], text), table, name)


def joined(names: Sequence[str], shape: tuple[int, ...]) -> Part:
    """Queries, keys and values that lie apart in the file and one below the other in the network."""
    import torch

    return Part(tuple(names), (shape[0] // len(names), *shape[1:]), lambda *tensors: torch.cat(tensors))


def transposed(name: str, shape: tuple[int, ...]) -> Part:
    """A projection that is x @ W in the network and a linear layer in the file."""
    return Part((name,), shape[::-1], lambda tensor: tensor.T.contiguous())


def fill(
    net: nn.Module,
    state: State,
    layout: Layout,
    ignore: Sequence[str],
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Put a file's tensors into a network. Raises ModelError naming a missing, an unexpected or a misshapen
    key of the file.

    state: emptied on the way, so that nothing is in memory twice. ignore: patterns of keys that may be there
    and are no weights.
    """
    parts = {name: layout(name, tuple(value.shape)) for name, value in net.state_dict().items()}
    wanted = {name: part.shape for part in parts.values() for name in part.names}
    given = {
        name: tuple(value.shape)
        for name, value in state.items()
        if name in wanted or not any(re.fullmatch(pattern, name) for pattern in ignore)
    }
    refuse_misfit(wanted, given)
    made = {
        name: part.make(*(state.pop(source) for source in part.names)).to(device, dtype)
        for name, part in parts.items()
    }
    net.load_state_dict(made, strict=True, assign=True)


def refuse_misfit(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelError for the first key in which a file and a network differ."""
    right = "It is not the published file of this tower."
    for what, names in (
        ("is missing", wanted.keys() - given.keys()),
        ("is unexpected", given.keys() - wanted.keys()),
    ):
        if names:
            more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
            raise ModelError(f"the key {min(names)} {what}{more}.", right)
    for name, shape in wanted.items():
        if given[name] != shape:
            raise ModelError(f"the key {name} has shape {list(given[name])}, not {list(shape)}.", right)
