"""Networks that transformers loads by itself: those that see and speak, and those that write.

Their files lie in one folder, or in one repository of the Hub, of which one set of weights is taken.
Code that a repository brings along is never run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vedit.errors import ModelError, UsageError, option
from vedit.models.hub import commit_of, explained, first_line, hash_weights, weights_in, weights_of
from vedit.models.sharded import parts_of

if TYPE_CHECKING:
    import torch

CONFIGS = ["*.json", "*.txt", "*.model", "*.jinja"]
UNTRAINED = 0.01  # share of a network's numbers that its weights may leave out: a bias, not a layer


def find(name: str, revision: str | None, again: str) -> Path:
    """The folder of a network, downloaded when it is a Hub id that is not in the cache.

    again: the command that does so on a machine with network. Raises ModelError, UsageError.
    """
    if os.path.isdir(name):
        if revision is not None:
            raise UsageError(
                f"{name} is a folder, and has no revisions.", "", f"Leave out {option('revision')}"
            )
        folder = Path(name)
    elif name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{name}: there is no such folder, and it is not a Hub id such as OWNER/NAME.")
    else:
        folder = _fetched(name, revision, again)
    for file in ("config.json", "weights"):
        if weights_in(folder) is None if file == "weights" else not (folder / file).is_file():
            raise ModelError(
                f"{name} has no {file}.",
                "A network of transformers is a folder with config.json and model.safetensors.",
                "Name another folder, or a Hub id such as OWNER/NAME",
            )
    return folder


def _fetched(name: str, revision: str | None, again: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    with explained(name, revision, again):
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=CONFIGS))
        if weights_in(folder) is None:
            told = HfApi().model_info(name, revision=folder.name).siblings or ()
            names = [entry.rfilename for entry in told if "/" not in entry.rfilename]
            if weights := weights_of(names):
                parts = parts_of(names, weights.file) if weights.file.endswith(".json") else []
                wanted = [*CONFIGS, weights.file, *parts]
                folder = Path(snapshot_download(name, revision=folder.name, allow_patterns=wanted))
    return folder


def loaded(kind: Any, name: str, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A network of a class of transformers, ready to be asked. Raises ModelError for weights that are damaged
    or not its own.
    """
    quiet()
    with told_of(name):
        network, report = kind.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False, dtype=dtype, output_loading_info=True
        )
    refuse_untrained(name, network, report)
    return network.to(device).eval()


def refuse_untrained(name: str, network: Any, report: Any) -> None:
    """Refuse a network that its weights leave out parts of: transformers fills them with noise."""
    own = dict(network.named_parameters())
    missing = [key for key in report["missing_keys"] if key in own]
    shares = sum(own[key].numel() for key in missing) / max(1, sum(value.numel() for value in own.values()))
    if shares > UNTRAINED or report["mismatched_keys"]:
        first = next(iter([*missing, *(key for key, *_ in report["mismatched_keys"])]))
        raise ModelError(
            f"{name}: its weights are not those of a {type(network).__name__}: they lack {first} and others.",
            "The folder may be of another model, or damaged.",
        )


@contextmanager
def told_of(name: str) -> Iterator[None]:
    """Turn what transformers raises while it reads a model into a ModelError with the next step."""
    try:
        yield
    except ImportError as error:
        library = "num2words" if "num2words" in str(error) else first_line(error)
        line = 'pip install "vedit[language]"' if library == "num2words" else "pip install NAME"
        raise ModelError(
            f"{name} needs {library}, not installed here.", next_step=f"Install with: {line}"
        ) from None
    except Exception as error:  # what a damaged file, or one of another version, ends in has no common class
        if "trust_remote_code" in str(error) or "custom code" in str(error):
            raise ModelError(
                f"{name} brings code of its own, which is not run.",
                "It must be of a class that transformers has.",
                f"Name another model, or ask a server that runs it: {option('base_url', 'URL')}",
            ) from None
        raise ModelError(f"{name} cannot be loaded: {first_line(error)}.") from None


def identity(name: str, folder: Path) -> dict[str, Any]:
    """Which weights were asked: by their commit on the Hub, or by their hash."""
    commit = commit_of(folder)
    return {"model": name, "revision": commit} if commit else {"model": name, "sha256": hash_weights(folder)}


@contextmanager
def at_work(name: str) -> Iterator[None]:
    """Turn what a network raises while it answers into a ModelError."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise ModelError(f"{name} cannot answer: {first_line(error)}.") from None


def quiet() -> None:
    """Loading takes seconds: bars and notices of transformers would only be noise."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
