"""Where a model's files lie: in the package, in a folder, or in the Hub's cache, fetched when online.

Loads no torch, so a model can be fetched before the rest is installed. Of a Hub model only the
files that `load_model` reads are taken: one file of weights per part, though a repository often
holds the same weights six times over (safetensors, pickle, half precision, before averaging).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from vedit import documents
from vedit.documents import Kind, table
from vedit.errors import ModelError, UsageError, VeditError, Warn, nearest, option
from vedit.models.checked import check_parts
from vedit.models.layout import ANIMATEDIFF, CLIPS, LAYOUTS, SD, Layout, class_of, layout_of
from vedit.models.sharded import INDEX_FILE, parts_of, shards
from vedit.secrecy import address, without_login

EMBEDDED = "shapes"
EMBEDDED_VIDEO = "shapes-video"
EMBEDDED_MOTION = "shapes-motion"  # a motion adapter; as a model it is the embedded one's with it
EMBEDDED_EDITOR = "shapes-instruct"  # weights beside the video model, no model by themselves
OURS = (EMBEDDED, EMBEDDED_VIDEO, EMBEDDED_MOTION)  # the models that ship with vedit
BUILTIN = Path(__file__).resolve().parent.parent / "builtin"
PARTS = tuple(
    dict.fromkeys(part for layout in LAYOUTS for part in (*layout.weighed, *layout.may, *layout.beside))
)
CONFIGS = [
    "model_index.json",
    *(f"{part}/*.{suffix}" for part in PARTS for suffix in ("json", "txt")),
    "tokenizer/*.model",
]
TITLES = [layout.title for layout in LAYOUTS]
LAYOUT = f"A model is a folder in the layout of diffusers' {', '.join(TITLES[:-1])} or {TITLES[-1]}."
WEIGHT_FILE = re.compile(
    r"(?:diffusion_pytorch_model|model|pytorch_model)(?:\.(?P<variant>fp16))?\.(?P<suffix>safetensors|bin)"
)

SAFE_NAME = re.compile(r"[\w.+=:-]{1,200}", re.ASCII)  # of a file: a hash, or a hash with a mark


class Weights(NamedTuple):
    """The file of a part's weights that is read, and how diffusers names it."""

    file: str
    variant: str | None
    is_safe: bool


def weights_of(names: Iterable[str]) -> Weights | None:
    """Choose among the names of a part's folder: safetensors before pickle, then full precision before half.

    Of weights in several files it is the index.
    """
    found = []
    for name in names:
        match = WEIGHT_FILE.fullmatch(name) or INDEX_FILE.fullmatch(name)
        if match:
            found.append(Weights(name, match["variant"], match["suffix"] == "safetensors"))
    return min(
        found,
        key=lambda weights: (
            not weights.is_safe,
            weights.variant is not None,
            weights.file.endswith(".json"),
        ),
        default=None,
    )


def weights_in(folder: Path) -> Weights | None:
    """The weights in a part's folder; None also where there is no folder."""
    return weights_of(os.listdir(folder)) if folder.is_dir() else None


def hash_weights(folder: Path) -> str:
    """SHA-256 over the digest of the weights that are read from a part's folder."""
    digest = hashlib.sha256()
    weights = weights_in(folder)
    if weights is not None:
        for name in shards(folder, weights.file) if weights.file.endswith(".json") else [weights.file]:
            with (folder / name).open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def with_adapter(name: str) -> tuple[str, str | None]:
    """A model and the motion adapter that makes a network of clips of it, as MODEL+ADAPTER names them."""
    if name == EMBEDDED_MOTION:
        return EMBEDDED, EMBEDDED_MOTION
    model, plus, adapter = name.rpartition("+")
    return (name, None) if not (plus and model and adapter) or os.path.exists(name) else (model, adapter)


def find_folder(name: str, revision: str | None = None) -> Path:
    """Where a model's files lie; Hub ids are looked up in the cache, and fetched when online.

    A motion adapter behind the name is left aside.
    Raises ModelError for a name that is neither, and for a model of another family; UsageError for
    the revision of a model that has none.
    """
    name, _ = with_adapter(name)
    if revision is not None and (name in OURS or os.path.isdir(name)):
        raise UsageError(
            f"{name} has no revisions.",
            "They are versions of a model on the Hub.",
            f"Leave out {option('revision')}",
        )
    if name in OURS:
        folder = BUILTIN / name
        if not (folder / "model_index.json").exists():
            raise ModelError(
                f"the embedded model {name} is not in this installation.",
                "",
                f"Reinstall vedit, or name a model: {option('model', 'FOLDER')} or"
                f" {option('model', 'OWNER/NAME')}",
            )
    elif os.path.isdir(name):
        folder = Path(name)
    else:
        return fetch(name, revision)
    check_family(name, folder)
    check_complete(name, folder)
    return folder


def commit_of(folder: Path) -> str | None:
    """The commit that a folder of the Hub's cache is a snapshot of; None for any other folder."""
    return folder.name if folder.parent.name == "snapshots" else None


def fetch(name: str, revision: str | None = None, *, force: bool = False) -> Path:
    """The snapshot of a Hub model, downloaded as far as it is not in the cache.

    The small files come first: a model of another family is refused before its weights are fetched.
    A connection that breaks is taken up at the byte it broke at; a run that breaks keeps its complete files.
    force: download what is in the cache again, for files that are damaged.
    """
    from huggingface_hub import HfApi, snapshot_download

    if name in OURS:
        return find_folder(name)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(
            f"there is no model {name!r} to fetch{nearest(name, OURS) or '.'}",
            f"A model is {' or '.join(OURS)} (embedded), a folder, or a Hub id such as OWNER/NAME.",
            "See: vedit models list",
        )
    with explained(name, revision):
        folder = Path(
            snapshot_download(name, revision=revision, allow_patterns=CONFIGS, force_download=force)
        )
    check_family(name, folder)
    if missing_parts(folder) or force:
        with explained(name, revision):
            names = [
                entry.rfilename for entry in HfApi().model_info(name, revision=folder.name).siblings or ()
            ]
            snapshot_download(
                name, revision=folder.name, allow_patterns=_weight_paths(folder, names), force_download=force
            )
    check_complete(name, folder)
    return folder


def fetch_folder(name: str, patterns: Sequence[str], revision: str | None = None) -> Path:
    """The files of a Hub repository that match, in the cache, downloaded when online.

    Offline, where the newest revision is there without them, an older one that has them all. Raises
    ModelError.
    """
    from huggingface_hub import constants, errors, snapshot_download

    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise ModelError(f"{name}: there is no such folder, and it is not a Hub id such as OWNER/NAME.")
    with explained(name, revision, download_of(name, revision)):
        try:
            folder = Path(snapshot_download(name, revision=revision, allow_patterns=list(patterns)))
        except errors.LocalEntryNotFoundError:
            if revision is None and (older := _kept(name, patterns)):
                return older
            raise
        if revision is None and constants.is_offline_mode() and not _has(folder, patterns):
            return _kept(name, patterns) or folder
        return folder


def download_of(name: str, revision: str | None) -> str:
    """The command that fetches a repository which is no model of its own."""
    return f"hf download {name} --revision {revision}" if revision else f"hf download {name}"


def _has(folder: Path, patterns: Iterable[str]) -> bool:
    return all(any(folder.glob(pattern)) for pattern in patterns)


def _kept(name: str, patterns: Sequence[str]) -> Path | None:
    """The snapshot in the cache, of those that have all these files the one that was fetched last."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    snapshots = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "snapshots")
    kept = [folder for folder in snapshots.glob("*") if _has(folder, patterns)]
    return max(kept, key=lambda folder: folder.stat().st_mtime, default=None)


def hide_downloads() -> None:
    """No bars and no notices of the Hub's client from here on; errors still raise."""
    from huggingface_hub.utils import logging
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def _weight_paths(folder: Path, names: Iterable[str]) -> list[str]:
    """The one weight file of each part, or its index and all that it may name, among all file names of a
    repository. folder: what is there of it.
    """
    split, paths = [name.split("/") for name in names], list[str]()
    for part in weighed_in(folder):
        inside = [path[1] for path in split if len(path) == 2 and path[0] == part]
        weights = weights_of(inside)
        if weights is not None:
            more = parts_of(inside, weights.file) if weights.file.endswith(".json") else []
            paths += [f"{part}/{name}" for name in (weights.file, *more)]
    return paths


def layout_in(folder: Path) -> Layout:
    """The layout of a model's folder; Stable Diffusion's where the index does not tell."""
    return layout_of(read_json(folder / "model_index.json", folder.name)) or SD


def weighed_in(folder: Path) -> tuple[str, ...]:
    """The parts with weights that a model's folder should have."""
    index = read_json(folder / "model_index.json", folder.name)
    return (layout_of(index) or SD).weighed_in(index)


def layout_named(name: str, revision: str | None = None) -> Layout:
    """The layout of a model by name, asking nobody: Stable Diffusion's where that cannot be told yet."""
    return layout_told(name, revision) or SD


def layout_told(name: str, revision: str | None = None) -> Layout | None:
    """The same; None where it cannot be told yet, or where the model has none of the layouts."""
    if with_adapter(name)[1] is not None:
        return ANIMATEDIFF
    if name in OURS or os.path.isdir(name):
        path: Any = (BUILTIN / name if name in OURS else Path(name)) / "model_index.json"
    elif os.path.exists(name) or name.count("/") != 1:
        return None
    else:
        from huggingface_hub import try_to_load_from_cache

        try:
            path = try_to_load_from_cache(name, "model_index.json", revision=revision)
        except ValueError:  # not an id
            return None
    if not isinstance(path, (str, Path)):
        return None
    try:
        return layout_of(read_json(Path(path), name))
    except ModelError:
        return None


def missing_parts(folder: Path) -> list[str]:
    """The parts that have no folder or, where they should, no weights."""
    weighed = weighed_in(folder)
    return [
        part
        for part in (*weighed, *layout_in(folder).beside)
        if not (folder / part).is_dir() or (part in weighed and weights_in(folder / part) is None)
    ]


def check_complete(name: str, folder: Path) -> None:
    """Refuse a folder that lacks a part or its weights."""
    missing = missing_parts(folder)
    if missing:
        raise ModelError(
            f"{name} lacks {', '.join(missing)}.", LAYOUT, whole_again(name, folder, is_damaged=False)
        )
    _check_parts(name, folder)


def whole_again(name: str, folder: Path, is_damaged: bool = True) -> str:
    """What to do about a folder that holds what cannot be read, or else lacks files."""
    if commit_of(folder):
        again = f"Fetch it again: vedit models fetch {name}"
        return f"Fetch it again: vedit models fetch {name} --force" if is_damaged else again
    return f"Name another folder, or a Hub id: {option('model', 'OWNER/NAME')}"


def _check_parts(name: str, folder: Path) -> None:
    """Look through the configurations of a model's folder.

    Raises ModelError with what to type next.
    """
    try:
        check_parts(name, folder, (*weighed_in(folder), *layout_in(folder).beside))
    except ModelError as error:
        raise ModelError(error.what, error.right, error.next_step or whole_again(name, folder)) from None


def read_json(path: Path, name: str) -> dict[str, Any]:
    """A configuration file of the model `name`; raises ModelError."""
    kind = Kind("a configuration", ModelError)
    try:
        return table(documents.read_json(path, kind), str(path), kind)
    except ModelError as error:
        why = error.what.removeprefix(f"{path}: ").removeprefix("cannot read: ").rstrip(".")
        raise ModelError(
            f"{name}: {path.name} cannot be read: {why}.", LAYOUT, "See: vedit models list"
        ) from None


def first_line(error: BaseException) -> str:
    return (
        without_login(str(error)).strip().splitlines()[0].rstrip(".")
        if str(error).strip()
        else type(error).__name__
    )


def latent_side(sample_size: Any) -> int:
    """A network's `sample_size`, which may be a side, two of them, or missing."""
    if isinstance(sample_size, (list, tuple)) and sample_size:
        return int(min(sample_size))
    return int(sample_size or 64)


def unused_parts(index: dict[str, Any]) -> list[str]:
    """Parts of a pipeline that an edit leaves out although they change what it makes; the checker and its
    like do not.
    """
    named = {
        part
        for part, value in index.items()
        if isinstance(value, list) and len(value) == 2 and value[1] is not None
    }
    layout = layout_of(index) or SD
    own = {*layout.weighed, *layout.may, *layout.beside}
    # the weights of a motion adapter are part of the network's own
    return sorted(named - own - {"safety_checker", "feature_extractor", "motion_adapter"})


def warn_of_unused(name: str, index: dict[str, Any], warn: Warn) -> None:
    taken = ", ".join((layout_of(index) or SD).weighed_in(index))
    for part in unused_parts(index):
        warn(f"{name}: its {part} is not used: an edit takes {taken}")


def other_family(index: dict[str, Any]) -> str | None:
    """What a pipeline is, by its model_index.json, when its layout is not one that clips are edited with."""
    return None if layout_of(index) else str(index.get("_class_name", "pipeline of another family"))


def check_family(name: str, folder: Path) -> None:
    """Refuse what has none of the layouts that clips are edited with, saying what it is."""
    index = read_json(folder / "model_index.json", name)
    layout = layout_of(index)
    if layout is None:
        is_picture = class_of(index, "transformer") == "WanTransformer3DModel"
        raise ModelError(
            f"{name} is a {other_family(index)}.",
            (
                "It begins with a picture; an edit needs Wan's text-to-video layout."
                if is_picture
                else "These methods need the UNet and the text encoders of Stable Diffusion 1.x, 2.x or XL"
                " (its base), of AnimateDiff, I2VGen-XL or Stable Video Diffusion, or the text-to-video"
                " layout of Wan or LTX-Video."
            ),
            "See: vedit models list",
        )
    configs = {part: folder / part / "config.json" for part in (layout.network, "vae")}
    if not all(path.exists() for path in configs.values()):
        return  # for check_complete to say
    takes, gives = (
        read_json(configs[part], name).get(key, default)
        for part, key, default in (
            (layout.network, "in_channels", layout.channels),
            ("vae", layout.latents, layout.channels),
        )
    )
    wanted = gives * layout.takes if isinstance(gives, int) else gives
    if takes != wanted:
        raise ModelError(
            f"{name}: the network takes {takes} channels, the autoencoder gives {gives}.",
            "A network that also reads a mask, a depth map or a small picture cannot be edited with.",
            f"Name the plain text-to-{'video' if layout in CLIPS else 'image'} model:"
            f" {option('model', 'OWNER/NAME')}",
        )


@contextmanager
def hub_or_cache() -> Iterator[None]:
    """Within it the Hub's client asks the cache alone where the Hub's name leads nowhere.

    It would try again for half a minute, file by file, and a machine without network is nothing unusual.
    """
    from huggingface_hub import constants

    if constants.is_offline_mode() or _hub_has_address(constants.ENDPOINT):
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


@contextmanager
def cache_only() -> Iterator[None]:
    """Within it nothing is asked of the Hub."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def is_in_cache(name: str) -> bool:
    """Whether something of a Hub model is in the cache, in whatever revision."""
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.file_download import repo_folder_name

    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name, re.ASCII):
        return False
    try:
        snapshots = Path(
            constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "snapshots"
        )
    except HFValidationError:
        return False
    return snapshots.is_dir() and any(snapshots.iterdir())


@contextmanager
def checked_downloads(name: str) -> Iterator[None]:
    """Within it what is fetched of a repository goes into its place in the cache, and is what was published.

    The Hub names large files by their SHA-256 and small ones by their id in Git; the cache keeps them
    under that name, and the client compares sizes only. Raises ModelError, and drops what differs.
    """
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import _http

    def client() -> Any:
        made = _http.default_client_factory()
        made.event_hooks["response"].append(check_answer)
        return made

    set_client_factory(client)
    blobs = Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type="model"), "blobs")
    before = _stamps(blobs)
    try:
        yield
    finally:  # also of what a download that broke off has left: the next call would take it as it is
        wrong = [
            blob
            for blob, stamp in _stamps(blobs).items()
            if before.get(blob) != stamp and not is_as_published(blob)
        ]
        for blob in wrong:
            blob.unlink()
    if wrong:
        raise ModelError(
            f"{name}: a file that the Hub sent is not the one it publishes (by its hash,"
            f" {wrong[0].name[:12]}...).",
            "It was damaged on the way, or changed.",
            f"Try again: vedit models fetch {name}",
        )


def _stamps(blobs: Path) -> dict[Path, tuple[int, int]]:
    found = (
        [path for path in blobs.iterdir() if path.is_file() and path.suffix != ".incomplete"]
        if blobs.is_dir()
        else []
    )
    return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def is_as_published(blob: Path) -> bool:
    """Whether a file of the cache has the hash that it is called by; true for a name that is no hash."""
    if re.fullmatch(r"[0-9a-f]{64}", blob.name):
        digest = hashlib.sha256()
    elif re.fullmatch(r"[0-9a-f]{40}", blob.name):
        digest = hashlib.sha1(b"blob %d\0" % blob.stat().st_size)
    else:
        return True
    with blob.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest() == blob.name


def check_answer(response: Any) -> None:
    """Refuse an answer of the Hub whose names would lead out of the cache. Raises ModelError.

    The client makes paths of the commit and of the ETag of a file, as they come.
    """
    host = response.request.url.host
    if response.request.method == "HEAD":
        for header in ("etag", "x-linked-etag", "x-repo-commit"):
            value = response.headers.get(header, "").strip().removeprefix("W/").strip('"')
            if value and not (SAFE_NAME.fullmatch(value) and value.strip(".")):
                raise ModelError(
                    f"the Hub at {host} names a file {value[:80]!a}.",
                    "It is a hash.",
                    "Is HF_ENDPOINT right?",
                )
    elif (
        re.search(r"^/api/models/[^/]+/[^/]+(/revision/[^/]+)?/?$", response.request.url.path)
        and response.status_code == 200
    ):
        facts = Kind("what the Hub says of a model", ModelError, "", "Is HF_ENDPOINT right?")
        commit = table(documents.parse_json(response.read(), host, facts), host, facts).get("sha")
        if commit is not None and not (
            isinstance(commit, str) and SAFE_NAME.fullmatch(commit) and commit.strip(".")
        ):
            raise ModelError(
                f"the Hub at {host} names a commit {str(commit)[:80]!a}.",
                "It is a hash.",
                "Is HF_ENDPOINT right?",
            )


def _hub_has_address(endpoint: str) -> bool:
    """Whether the name of the Hub's host can be resolved; with a proxy that is the proxy's business."""
    import socket
    from urllib.parse import urlsplit
    from urllib.request import getproxies

    if getproxies():
        return True
    try:
        return bool(socket.getaddrinfo(urlsplit(endpoint).hostname, None))
    except OSError:
        return False


@contextmanager
def explained(name: str, revision: str | None, again: str | None = None) -> Iterator[None]:
    """Turn what the Hub's client raises into a ModelError with the next step. again: the command that fetches
    what is no model of its own.
    """
    from huggingface_hub import errors as hub

    is_model = again is None
    if again is None:
        fetch = f"vedit models fetch {name}"
        again = f"vedit models fetch {name} --revision {revision}" if revision else fetch
    try:
        with hub_or_cache(), checked_downloads(name):
            yield
    except VeditError:
        raise
    except hub.GatedRepoError:
        raise _gated(name) from None
    except hub.RevisionNotFoundError:
        raise ModelError(
            f"{name} has no revision {revision!r}.",
            "",
            f"Leave out {option('revision') if is_model else f'@{revision}'}, or name a branch, tag or"
            " commit",
        ) from None
    except hub.RepositoryNotFoundError:
        step = (
            "Check the token in HF_TOKEN"
            if _has_token()
            else "If it is private, set HF_TOKEN to a token that may read it"
        )
        raise ModelError(
            f"{name} does not exist on the Hub, or is private.", "Check the spelling.", step
        ) from None
    except hub.LocalEntryNotFoundError as error:
        where = "only in part in the local cache" if _is_partial(error) else "not in the local cache"
        raise ModelError(
            f"{name} is {where}, and {_why_not(error.__cause__)}.",
            "",
            f"On a machine with network run: {again}",
        ) from None
    except hub.OfflineModeIsEnabled as error:
        raise ModelError(
            f"{name} is only in part in the local cache, and {_why_not(error)}.",
            "",
            f"On a machine with network run: {again}",
        ) from None
    except hub.HFValidationError as error:
        raise ModelError(
            f"{name} is not a Hub id: {first_line(error)}.",
            "It is OWNER/NAME, as in the model's address.",
            "See: vedit models list",
        ) from None
    # HTTPError is of httpx or httpx2, by version; the others are what an answer in another shape ends in
    except (
        hub.HTTPError,  # type: ignore[attr-defined]
        OSError,
        ValueError,
        RuntimeError,
        TypeError,
        AttributeError,
        LookupError,
    ) as error:
        if _status(error) == 401:
            raise ModelError(
                f"the Hub refuses the token it was given for {name}.",
                "",
                "Set HF_TOKEN to a valid token, or unset it",
            ) from None
        raise ModelError(
            f"{name} cannot be fetched: {first_line(error)}.",
            "Files that are complete stay in the cache.",
            f"Try again: {again}",
        ) from None


def _gated(name: str) -> ModelError:
    from huggingface_hub import constants

    step = (
        "Then try again: the token in HF_TOKEN must be of the account that accepted it"
        if _has_token()
        else "Then set HF_TOKEN to a token of yours and try again"
    )
    return ModelError(
        f"{name} is gated.", f"Accept its licence at {address(constants.ENDPOINT)}/{name}.", step
    )


def _has_token() -> bool:
    from huggingface_hub import get_token

    return get_token() is not None


def _status(error: BaseException | None) -> int | None:
    """The HTTP status that an error of the Hub's client carries."""
    return getattr(getattr(error, "response", None), "status_code", None)


def _is_partial(error: BaseException) -> bool:
    # the class came with huggingface_hub 2
    return type(error).__name__ == "IncompleteSnapshotError"


def _why_not(cause: BaseException | None) -> str:
    """Why the Hub did not give a file."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    if isinstance(cause, hub.OfflineModeIsEnabled) and constants.is_offline_mode():
        return "HF_HUB_OFFLINE is set"
    if _status(cause) is not None:
        return f"the Hub at {address(constants.ENDPOINT)} answers {_status(cause)}"
    return f"the Hub at {address(constants.ENDPOINT)} cannot be reached"
