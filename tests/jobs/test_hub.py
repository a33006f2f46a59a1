"""The Hub path against a stub Hub: fetch, resume, offline, and every way to be refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
import huggingface_hub.constants as constants

from tests.conftest import ROOT, vedit
from tests.engine.folder import write_folder
from tests.hub import TOKEN, StubHub, stub_as_hub, stub_hub
from vedit.errors import ModelError
from vedit.models.hub import fetch, is_as_published, weights_of

NAME = "somebody/small-diffusion"
UNET = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("repository"))


@pytest.fixture
def repository(folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(folder, tmp_path / "repository"))


def in_a_shell(
    home: Path, endpoint: str, *lines: list[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run command lines one after the other in a fresh interpreter; stops at the first that fails."""
    code = (
        "import json, sys\nfrom vedit.cli import execute\nfor line in json.loads(sys.argv[1]):\n    code ="
        " execute(line)\n    if code: sys.exit(code)"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "VEDIT_CACHE_DIR": str(home / "vedit"),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    return subprocess.run(
        [sys.executable, "-c", code, json.dumps(lines)],
        env=env,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def edit_line(clip: str, output: Path) -> list[str]:
    prompts = ["--source", "a red cat", "--prompt", "a blue dog"]
    return [
        "edit",
        clip,
        "-o",
        str(output),
        "--model",
        NAME,
        "--method",
        "ddim",
        "--steps",
        "2",
        "--frames",
        "1",
        *prompts,
    ]


@pytest.mark.slow  # forty seconds: the whole way of a model from a Hub
def test_fetch_list_info_and_edit_by_name_and_then_all_of_it_without_a_network(
    folder: Path, tmp_path: Path
) -> None:
    clip = str(ROOT / "tests" / "data" / "nasty" / "ok_delays.gif")
    with stub_hub() as hub:
        hub.add(NAME, folder)
        hub.breaks["model.safetensors"] = [100]
        online = in_a_shell(
            tmp_path,
            hub.endpoint,
            ["models", "fetch", NAME],
            ["models", "list"],
            ["models", "info", NAME],
            edit_line(clip, tmp_path / "a.gif"),
        )
        commit, fetched = hub.repositories[NAME].commit, len(hub.downloads())
    assert online.returncode == 0
    (said,) = online.stderr.splitlines()
    assert said.startswith(f"vedit: {tmp_path / 'a.gif'}: 1 frames of 64x48, ")
    assert online.stdout.splitlines()[0] == str(
        tmp_path / "hub" / "models--somebody--small-diffusion" / "snapshots" / commit
    )
    assert (
        f"StableDiffusionPipeline, revision {commit[:12]}" in online.stdout
        and "picture       32x32" in online.stdout
    )
    assert fetched == len(hub.repositories[NAME].files) + 1  # one broke, was taken up, and nobody was told
    record = json.loads((tmp_path / "a.gif.vedit.json").read_text())
    assert (record["model"]["id"], record["model"]["revision"]) == (NAME, commit)
    offline = in_a_shell(tmp_path, hub.endpoint, edit_line(clip, tmp_path / "b.gif"), HF_HUB_OFFLINE="1")
    assert offline.returncode == 0 and len(offline.stderr.splitlines()) == 1
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()


def test_what_is_cached_serves_when_the_hub_is_down_or_gone(
    hub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, folder)
    snapshot = fetch(NAME)
    hub.down = 503
    assert fetch(NAME) == snapshot
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert fetch(NAME) == snapshot


def test_a_connection_that_breaks_is_taken_up_at_the_byte_it_broke_at(
    hub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        constants, "DOWNLOAD_CHUNK_SIZE", 1000
    )  # of 10 MB, which a file so small is never read beyond
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    repository = hub.add(NAME, folder)
    hub.breaks[UNET] = [64_000, 32_000]
    snapshot = fetch(NAME)
    ranges = [request.range for request in hub.downloads(UNET) if request.range]
    assert ranges and all(asked.startswith("bytes=") and int(asked[6:-1]) % 1000 == 0 for asked in ranges)
    for name, path in repository.files.items():
        assert (snapshot / name).read_bytes() == path.read_bytes()


def test_a_run_that_breaks_keeps_its_complete_files_and_the_next_takes_the_rest(
    hub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.add(NAME, folder)
    hub.breaks["model.safetensors"] = [0] * 6  # the first try and all that follow it
    broken = vedit("models", "fetch", NAME)
    assert broken.code == 5
    assert f"{NAME} cannot be fetched" in broken.err and f"Try again: vedit models fetch {NAME}" in broken.err
    assert "incomplete, lacks text_encoder" in vedit("models", "list").text
    before = len(hub.log)
    assert vedit("models", "fetch", NAME).code == 0
    again = [request.path.rsplit("/", 1)[1] for request in hub.log[before:] if request in hub.downloads()]
    assert again.count("model.safetensors") == 1 and "config.json" not in again


def test_what_is_cached_only_in_part_says_so_offline(
    hub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.add(NAME, folder)
    hub.breaks["model.safetensors"] = [0] * 6
    vedit("models", "fetch", NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused = vedit("models", "info", NAME)
    assert refused.code == 5 and "only in part in the local cache, and HF_HUB_OFFLINE is set" in refused.err
    assert f"vedit models fetch {NAME}" in refused.err


def test_of_weights_in_many_formats_one_is_fetched(hub: StubHub, repository: Path) -> None:
    for name in (
        "diffusion_pytorch_model.bin",
        "diffusion_pytorch_model.fp16.safetensors",
        "diffusion_pytorch_model.non_ema.safetensors",
    ):
        (repository / "unet" / name).write_bytes(b"the same weights again")
    (repository / "v1-5-pruned.ckpt").write_bytes(b"and all of them in one")
    (repository / "safety_checker").mkdir()
    (repository / "safety_checker" / "model.safetensors").write_bytes(b"not used")
    hub.add(NAME, repository)
    snapshot = fetch(NAME)
    assert sorted(path.name for path in snapshot.glob("unet/*")) == ["config.json", UNET]
    assert not (snapshot / "safety_checker").exists() and not list(snapshot.glob("*.ckpt"))


def test_the_choice_of_weights_is_safetensors_first_and_full_precision_first() -> None:
    names = [
        "config.json",
        "pytorch_model.bin",
        "model.fp16.safetensors",
        "model.safetensors",
        "flax_model.msgpack",
        "model.non_ema.safetensors",
    ]
    assert weights_of(names) == ("model.safetensors", None, True)
    assert weights_of(names[:3]) == ("model.fp16.safetensors", "fp16", True)
    assert weights_of(names[:2]) == ("pytorch_model.bin", None, False)
    assert weights_of(["config.json", "model.non_ema.safetensors"]) is None


def test_half_precision_alone_and_a_pickle_alone_are_loaded(hub: StubHub, repository: Path) -> None:
    import torch
    from safetensors.torch import load_file

    from vedit.models.sd.load import load_model

    full = load_model(str(repository)).unet.state_dict()
    (repository / "unet" / UNET).rename(repository / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    torch.save(load_file(repository / "vae" / UNET), repository / "vae" / "diffusion_pytorch_model.bin")
    (repository / "vae" / UNET).unlink()
    hub.add(NAME, repository)
    model = load_model(NAME)
    assert all(torch.equal(weight, full[key]) for key, weight in model.unet.state_dict().items())
    assert sorted(path.name for path in model.folder.glob("vae/*")) == [
        "config.json",
        "diffusion_pytorch_model.bin",
    ]


def test_nothing_that_a_checkpoint_brings_is_executed(hub: StubHub, repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    code = f"open({str(mark)!r}, 'w').close()\n"
    for place in ("pipeline.py", "unet/unet.py", "tokenizer/tokenization.py", "text_encoder/modeling.py"):
        (repository / place).write_text(code)
    hub.add(NAME, repository)
    assert vedit("models", "info", NAME).code == 0
    assert not [request for request in hub.log if request.path.endswith(".py")]
    (repository / "unet" / UNET).unlink()
    (repository / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Exploit(str(mark))))
    hub.add("somebody/pickled", repository)
    refused = vedit("models", "info", "somebody/pickled")
    assert refused.code == 5 and "the weights cannot be loaded" in refused.err
    assert not mark.exists()


@pytest.mark.parametrize(
    ("part", "classes"),
    [
        ("tokenizer/tokenizer_config.json", {"AutoTokenizer": ["tokenization.T", None]}),
        ("text_encoder/config.json", {"AutoModel": "modeling.M"}),
        ("text_encoder/config.json", {"AutoModel": "somebody/else--modeling.M"}),
    ],
    ids=["tokenizer", "encoder", "code of another repository"],
)
def test_a_model_that_asks_for_code_of_its_own_is_refused_with_a_word(
    hub: StubHub, repository: Path, part: str, classes: dict[str, object]
) -> None:
    config = json.loads((repository / part).read_text())
    (repository / part).write_text(json.dumps({**config, "auto_map": classes}))
    hub.add(NAME, repository)
    refused = vedit("models", "info", NAME)
    assert refused.code == 5 and f"{part} asks for code of its own (auto_map)" in refused.err


class Exploit:
    """A pickle that writes a file when it is loaded without care."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (self.path, "w")


@pytest.mark.parametrize(
    ("access", "token", "says", "next_step"),
    [
        (
            "gated",
            None,
            f"{NAME} is gated.\nAccept its licence at http://127.0.0.1",
            "set HF_TOKEN to a token of yours",
        ),
        (
            "gated",
            "hf_of_another",
            f"{NAME} is gated.\nAccept its licence at http://127.0.0.1",
            "must be of the account that accepted it",
        ),
        (
            "private",
            None,
            f"{NAME} does not exist on the Hub, or is private.",
            "set HF_TOKEN to a token that may read it",
        ),
        (
            "private",
            "hf_of_another",
            f"{NAME} does not exist on the Hub, or is private.",
            "Check the token in HF_TOKEN",
        ),
        (
            "open",
            "hf_mistyped",
            f"the Hub refuses the token it was given for {NAME}.",
            "Set HF_TOKEN to a valid token, or unset it",
        ),
    ],
)
def test_who_may_not_read_a_model_is_told_what_to_do(
    hub: StubHub,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    access: str,
    token: str | None,
    says: str,
    next_step: str,
) -> None:
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    hub.add(NAME, folder, access)
    refused = vedit("models", "fetch", NAME)
    assert refused.code == 5 and says in refused.err and next_step in refused.err.splitlines()[-1]


@pytest.mark.parametrize("access", ["gated", "private"])
def test_a_token_opens_what_is_gated_or_private_and_stays_with_the_hub(
    hub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch, access: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    hub.add(NAME, folder, access)
    assert vedit("models", "fetch", NAME).code == 0
    stored = [request for request in hub.log if request.path.startswith("/cdn/")]
    assert stored and all(request.token is None for request in stored)


def test_a_missing_model_and_a_missing_revision_are_told_apart(hub: StubHub, folder: Path) -> None:
    hub.add(NAME, folder)
    missing = vedit("models", "fetch", "somebody/nothing")
    assert (
        missing.code == 5
        and "somebody/nothing does not exist on the Hub, or is private.\nCheck the spelling." in missing.err
    )
    unknown = vedit("models", "fetch", NAME, "--revision", "v9")
    assert (
        unknown.code == 5
        and f"{NAME} has no revision 'v9'." in unknown.err
        and "Leave out --revision" in unknown.err
    )
    assert vedit("models", "fetch", NAME, "--revision", "v1").code == 0


def test_another_family_is_refused_before_its_weights_are_fetched(hub: StubHub, repository: Path) -> None:
    index = json.loads((repository / "model_index.json").read_text())
    (repository / "model_index.json").write_text(
        json.dumps(
            {
                **{part: kind for part, kind in index.items() if part != "unet"},
                "_class_name": "StableDiffusion3Pipeline",
                "transformer": ["diffusers", "SD3Transformer2DModel"],
            }
        )
    )
    hub.add(NAME, repository)
    refused = vedit("models", "fetch", NAME)
    assert (
        refused.code == 5
        and f"{NAME} is a StableDiffusion3Pipeline." in refused.err
        and "See: vedit models list" in refused.err
    )
    assert not hub.downloads(".safetensors")
    assert not any(
        NAME in line and "not for vedit edit" not in line
        for line in vedit("models", "list").text.splitlines()
    )


def test_a_network_that_also_reads_a_mask_is_refused(hub: StubHub, repository: Path) -> None:
    config = json.loads((repository / "unet" / "config.json").read_text())
    (repository / "unet" / "config.json").write_text(json.dumps({**config, "in_channels": 9}))
    hub.add(NAME, repository)
    refused = vedit("models", "fetch", NAME)
    assert (
        refused.code == 5
        and "the network takes 9 channels, the autoencoder gives 4" in refused.err
        and "--model OWNER/NAME" in refused.err
    )


def test_what_is_not_cached_says_so_offline_and_when_the_hub_is_down_or_gone(
    hub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add(NAME, folder)
    fetch_it = f"On a machine with network run: vedit models fetch {NAME}"
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    offline = vedit("models", "info", NAME)
    assert (
        offline.code == 5
        and f"{NAME} is not in the local cache, and HF_HUB_OFFLINE is set.\n{fetch_it}" in offline.err
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.down = 503
    down = vedit("models", "info", NAME)
    assert down.code == 5 and f"and the Hub at {hub.endpoint} answers 503.\n{fetch_it}" in down.err
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    gone = vedit("models", "info", NAME)
    assert gone.code == 5 and f"and the Hub at http://127.0.0.1:9 cannot be reached.\n{fetch_it}" in gone.err


def test_damaged_files_of_the_cache_are_fetched_again_by_force(hub: StubHub, folder: Path) -> None:
    hub.add(NAME, folder)
    snapshot = fetch(NAME)
    (snapshot / "unet" / UNET).write_bytes(b"the disk was full")
    damaged = vedit("models", "info", NAME)
    assert damaged.code == 5 and f"vedit models fetch {NAME} --force" in damaged.err
    assert vedit("models", "fetch", NAME, "--force").code == 0
    assert vedit("models", "info", NAME).code == 0


@pytest.mark.parametrize("name", ["two words/model", "shapez", "./no-such-folder", "a/b/c"])
def test_a_name_that_cannot_be_one_is_refused_without_asking_the_hub(hub: StubHub, name: str) -> None:
    with pytest.raises(ModelError) as error:
        fetch(name)
    assert error.value.next_step == "See: vedit models list" and not [
        request for request in hub.log if "/models/" in request.path
    ]


def test_a_machine_without_network_is_told_so_at_once(hub: StubHub, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket
    import time

    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waits for {seconds} s"))
    with pytest.raises(ModelError, match=r"is not in the local cache, and the Hub at .* cannot be reached"):
        fetch(NAME)
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize("kind", ["large", "small"])
def test_a_file_that_is_not_the_published_one_is_refused_and_not_kept(
    hub: StubHub, folder: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    hub.add(NAME, folder)
    digest, place = (
        (hashlib.sha256, "tests.hub.sha256") if kind == "large" else (hashlib.sha1, "tests.hub.blob_id")
    )
    monkeypatch.setattr(place, lambda path: digest(str(path).encode()).hexdigest())
    with pytest.raises(ModelError, match="not the one it publishes"):
        fetch(NAME)
    assert all(map(is_as_published, Path(constants.HF_HUB_CACHE).glob("models--*/blobs/*")))


@pytest.mark.parametrize("name", ["../../../../../escaped", "/tmp/escaped", "..", "a/b"])
def test_names_of_a_hub_cannot_lead_out_of_the_cache(
    hub: StubHub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hub.add(NAME, folder)
    monkeypatch.setattr("tests.hub.blob_id", lambda path: name)
    with pytest.raises(ModelError, match="names a file"):
        fetch(NAME)
    monkeypatch.undo()
    with stub_as_hub(monkeypatch, tmp_path / "other") as again:
        again.add(NAME, folder)
        monkeypatch.setattr("tests.hub.Repository.commit", name)
        with pytest.raises(ModelError):
            fetch(NAME)
    assert not list(tmp_path.rglob("escaped"))
