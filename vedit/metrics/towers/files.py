"""The published weight files: where they are looked for, how they are fetched, and their hashes.

Loads no torch.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vedit.documents import Kind, read_json
from vedit.errors import InputError, ModelError, OutputError, option
from vedit.media.atomic import atomic_path, open_output
from vedit.models.hub import hub_or_cache


@dataclass(frozen=True)
class WeightFile:
    """One published file.

    repo: of the Hub, or of the site that `url` names where it is not on the Hub.
    size_mb: about, in 10^6 bytes. licence: of the weights, as their card states it. sha256, md5: what is
    known of the published file's hash, from its start.
    """

    repo: str
    path: str
    size_mb: float
    licence: str
    url: str = ""
    sha256: str = ""
    md5: str = ""

    @property
    def name(self) -> str:
        return f"{self.repo}: {self.path}"


def _torchvision(path: str, size_mb: float) -> tuple[WeightFile, ...]:
    stem = path.partition(".")[0]
    return (
        WeightFile(
            "pytorch/torchvision",
            path,
            size_mb,
            "BSD-3-Clause",
            f"https://download.pytorch.org/models/{path}",
            stem.rpartition("-")[2],
        ),
    )


_CLIP_LICENCE = "MIT (repository of OpenAI; the card names none)"
_GMFLOW_SHA256 = "0c07dcb3"

# by tower, the preferred file first; all files of a tower give the same numbers
FILES: dict[str, tuple[WeightFile, ...]] = {
    "clip_l": (
        WeightFile("openai/clip-vit-large-patch14", "model.safetensors", 1711, _CLIP_LICENCE),
        WeightFile(
            "timm/vit_large_patch14_clip_224.openai", "open_clip_model.safetensors", 1711, _CLIP_LICENCE
        ),
    ),
    "clip_b32": (
        WeightFile(
            "timm/vit_base_patch32_clip_224.openai", "open_clip_model.safetensors", 605, _CLIP_LICENCE
        ),
        WeightFile("openai/clip-vit-base-patch32", "model.safetensors", 605, _CLIP_LICENCE),
        WeightFile("openai/clip-vit-base-patch32", "pytorch_model.bin", 605, _CLIP_LICENCE),
    ),
    "clip_small": (WeightFile("wkcn/TinyCLIP-ViT-8M-16-Text-3M-YFCC15M", "model.safetensors", 93.8, "MIT"),),
    "clip_h": (
        WeightFile(
            "yuvalkirstain/PickScore_v1",
            "model.safetensors",
            3945,
            "see https://huggingface.co/yuvalkirstain/PickScore_v1",
        ),
    ),
    "aesthetic": (
        WeightFile(
            "christophschuhmann/improved-aesthetic-predictor",
            "sac+logos+ava1-l14-linearMSE.pth",
            3.7,
            "Apache-2.0",
            "https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/sac%2Blogos%2Bava1-l14-linearMSE.pth",
            md5="b1047fd767a00134b8fd6529bf19521a",
        ),
        WeightFile(
            "shunk031/aesthetics-predictor-v2-sac-logos-ava1-l14-linearMSE",
            "model.safetensors",
            1220,
            "Apache-2.0 (conversion script: MIT)",
        ),
    ),
    "dinov2": (WeightFile("facebook/dinov2-base", "model.safetensors", 346, "Apache-2.0"),),
    "dino-vitb16": (
        WeightFile("facebook/dino-vitb16", "model.safetensors", 343, "Apache-2.0"),
        WeightFile("facebook/dino-vitb16", "pytorch_model.bin", 343, "Apache-2.0"),
        WeightFile("timm/vit_base_patch16_224.dino", "model.safetensors", 343, "Apache-2.0"),
    ),
    "viclip": (
        WeightFile("OpenGVLab/ViCLIP", "ViClip-InternVid-10M-FLT.pth", 1711, "MIT"),
        WeightFile("OpenGVLab/VBench_Used_Models", "ViClip-InternVid-10M-FLT.pth", 1711, "MIT"),
        WeightFile("OpenGVLab/ViCLIP-L-14-hf", "model.safetensors", 1711, "MIT"),
    ),
    "dover": (
        WeightFile(
            "teowu/DOVER", "DOVER.pth", 229, "MIT on the card; S-Lab Licence 1.0 (non-commercial) on the code"
        ),
    ),
    "gmflow": (
        WeightFile(
            "pranay-ar/gmflow",
            "gmflow_sintel-0c07dcb3.pth",
            18.8,
            "Apache-2.0 (code; a third party's mirror)",
            sha256=_GMFLOW_SHA256,
        ),
        WeightFile(
            "logtd/gmflow",
            "gmflow_sintel-0c07dcb3.pth",
            18.8,
            "Apache-2.0 (code; a third party's mirror)",
            sha256=_GMFLOW_SHA256,
        ),
    ),
    "lpips_alex": _torchvision("alexnet-owt-7be5be79.pth", 244),
    "lpips_vgg": _torchvision("vgg16-397923af.pth", 553),
    "lpips_squeeze": _torchvision("squeezenet1_1-b8a52dc0.pth", 4.9),
}


@dataclass(frozen=True)
class Found:
    """A weight file on this machine.

    revision: commit of the Hub's repository, where it came through its cache.
    place: "folder" (given by the user), "cache" or "download".
    """

    file: WeightFile
    path: Path
    place: str
    revision: str | None = None


class WeightFinder:
    """Look for weights in the user's folder, then in the Hub's cache, then on the Hub.

    folder: holds ORG/REPO/FILE or REPO/FILE, as published. cache: where fetched files that are not
    on the Hub and known hashes are kept; None keeps none. offline: never fetch. hub_cache: the Hub's
    own cache unless given.
    """

    def __init__(
        self,
        folder: Path | None = None,
        cache: Path | None = None,
        offline: bool = False,
        hub_cache: Path | None = None,
    ) -> None:
        self.folder, self.cache, self.offline, self.hub_cache = folder, cache, offline, hub_cache

    def places(self, tower: str) -> list[str]:
        """Where a tower's weights are looked for, in order, for people to read."""
        found = []
        for file in FILES[tower]:
            if self.folder is not None:
                found.append(str(self.folder / file.repo / file.path))
        return found + [f"the Hub's cache of {file.repo}" for file in FILES[tower] if not file.url]

    def look(self, tower: str) -> Found | None:
        """The first file of a tower that is on this machine."""
        for file in FILES[tower]:
            if self.folder is not None:
                for parent in (file.repo, file.repo.partition("/")[2]):
                    if (path := self.folder / parent / file.path).is_file():
                        return Found(file, path, "folder")
        for file in FILES[tower]:
            if (kept := self._cached(file)) is not None:
                return Found(file, kept, "cache", None if file.url else _revision(kept))
        return None

    def find(self, tower: str) -> Found:
        """The weights of a tower, fetched if need be. Raises ModelError."""
        return self.look(tower) or self.fetch(tower)

    def fetch(self, tower: str) -> Found:
        """Download the weights of a tower: the first of its files that can be had. Raises ModelError."""
        if self.offline:
            raise ModelError(
                f"the weights of {tower} are not on this machine.",
                "Looked in: " + "; ".join(self.places(tower)) + ".",
                _put(tower),
            )
        reasons, hub_is_reached = [], True
        for file in FILES[tower]:
            if not file.url and not hub_is_reached:
                continue  # each further try would wait as long as the first
            try:
                path = self._download_url(file) if file.url else _download_hub(file, self.hub_cache)
                found = Found(file, path, "download", None if file.url else _revision(path))
                self._refuse_another(found)
                return found
            except ConnectionError as error:
                hub_is_reached = False
                reasons.append(f"{file.name}: {error}")
            except ModelError as error:
                reasons.append(f"{file.name}: {error.what} {error.right}".rstrip())
        raise ModelError(f"the weights of {tower} cannot be fetched.", "\n".join(reasons), _put(tower))

    def _cached(self, file: WeightFile) -> Path | None:
        if file.url:
            path = self._place(file)
            return path if path is not None and path.is_file() else None
        from huggingface_hub import try_to_load_from_cache

        path_text = try_to_load_from_cache(file.repo, file.path, cache_dir=self.hub_cache)
        return Path(path_text) if isinstance(path_text, str) else None

    def _place(self, file: WeightFile) -> Path | None:
        return None if self.cache is None else self.cache / "weights" / file.repo / file.path

    def _download_url(self, file: WeightFile) -> Path:
        place = self._place(file)
        if place is None:
            raise ModelError("no folder to keep it in.")
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with (
                urllib.request.urlopen(file.url, timeout=60) as response,
                atomic_path(str(place)) as part,
                open(part, "wb") as stream,
            ):
                shutil.copyfileobj(response, stream)
        except (urllib.error.URLError, OutputError, OSError) as error:
            raise ModelError(f"{error}.") from None
        return place

    def _refuse_another(self, found: Found) -> None:
        """A fetched file whose hash is not the published one is somebody else's: removed, so that it is not
        found next time.
        """
        if self.is_published(found) is False:
            sha256 = self.sha256(found.path)
            found.path.unlink()
            raise ModelError(
                f"what {found.file.repo} gave as {found.file.path}: its hash is not that of the published"
                " file.",
                f"Its sha256 is {sha256}.",
            )

    def is_published(self, found: Found) -> bool | None:
        """Whether a file has the published hash; None where that is not known."""
        if found.file.sha256:
            return self.sha256(found.path).startswith(found.file.sha256)
        if found.file.md5:
            with found.path.open("rb") as stream:
                return hashlib.file_digest(stream, "md5").hexdigest() == found.file.md5
        return None

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file; kept with its size and time of change, since the largest has 4 GB."""
        stat = path.stat()
        key = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}"
        if key not in self._hashes:
            with path.open("rb") as stream:
                self._hashes[key] = hashlib.file_digest(stream, "sha256").hexdigest()
            self._keep_hashes()
        return self._hashes[key]

    @cached_property
    def _hashes(self) -> dict[str, str]:
        try:
            kept = (
                read_json(self.cache / "hashes.json", Kind("kept hashes", names_files=True))
                if self.cache is not None
                else {}
            )
        except InputError:
            return {}
        return {str(key): str(value) for key, value in kept.items()} if isinstance(kept, dict) else {}

    def _keep_hashes(self) -> None:
        if self.cache is None:
            return
        try:
            self.cache.mkdir(parents=True, exist_ok=True)
            with open_output(str(self.cache / "hashes.json")) as stream:
                stream.write(json.dumps(self._hashes, indent=1).encode())
        except (OSError, OutputError):
            pass  # a cache that cannot be written costs time, not results

    def provenance(self, found: Found) -> dict[str, Any]:
        """What a report says about a file."""
        return {
            "file": found.file.path,
            "repo": found.file.repo,
            "revision": found.revision,
            "path": str(found.path),
            "size": found.path.stat().st_size,
            "sha256": self.sha256(found.path),
            "is_published": self.is_published(found),
            "licence": found.file.licence,
        }


def _put(tower: str) -> str:
    file = FILES[tower][0]
    return (
        f"On a machine with network run: vedit score weights --fetch {tower}\nor put the file at"
        f" DIR/{file.repo}/{file.path} and add {option('weights', 'DIR')}"
    )


def _revision(path: Path) -> str | None:
    """The commit in a path of the Hub's cache: .../snapshots/COMMIT/FILE."""
    parts = path.parts
    return parts[parts.index("snapshots") + 1] if "snapshots" in parts else None


def _download_hub(file: WeightFile, cache: Path | None) -> Path:
    """Raises ConnectionError when the Hub cannot be reached, ModelError for a file that it does not give."""
    from huggingface_hub import errors as hub
    from huggingface_hub import hf_hub_download

    try:
        with hub_or_cache():
            return Path(hf_hub_download(file.repo, file.path, cache_dir=cache))
    except hub.GatedRepoError:
        raise ModelError(
            f"it is gated: accept its licence at https://huggingface.co/{file.repo} and set HF_TOKEN."
        ) from None
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled):
        raise ConnectionError("the Hub cannot be reached.") from None
    except (hub.HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError((str(error).strip().splitlines() or [type(error).__name__])[0]) from None
