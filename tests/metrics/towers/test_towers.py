"""vedit/metrics/towers: weights are found and checked, one network is in memory, nothing is computed twice."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.metrics.seeded import moving_video, towers_at, write_weights
from tests.metrics.tiny import aesthetic_head
from vedit.errors import ModelError
from vedit.metrics.towers import FILES, FeatureStore, Towers, WeightFile, WeightFinder
from vedit.metrics.towers.tower import read_state
from vedit.metrics.types import Options

OPTIONS = Options(device="cpu")


def test_a_folder_holds_files_under_their_repository_or_its_last_part(tmp_path: Path) -> None:
    finder = WeightFinder(tmp_path, offline=True)
    for place in ("teowu/DOVER", "DOVER"):
        path = tmp_path / place / "DOVER.pth"
        path.parent.mkdir(parents=True)
        path.touch()
        found = finder.find("dover")
        assert (found.path, found.place) == (path, "folder")
        path.unlink()


def test_the_hub_cache_is_looked_into_and_gives_the_revision(tmp_path: Path) -> None:
    folder = tmp_path / "models--teowu--DOVER"
    commit = "0123456789abcdef0123456789abcdef01234567"
    path = folder / "snapshots" / commit / "DOVER.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"weights")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    found = WeightFinder(offline=True, hub_cache=tmp_path).look("dover")
    assert found is not None
    assert (found.path, found.place, found.revision) == (path, "cache", commit)


def test_missing_weights_say_where_they_were_looked_for_and_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        WeightFinder(tmp_path, offline=True, hub_cache=tmp_path).find("dover")
    assert caught.value.exit_code == 5
    assert f"{tmp_path}/teowu/DOVER/DOVER.pth" in str(caught.value)
    assert "vedit score weights --fetch dover" in str(caught.value)


def refusing(error: Exception, calls: list[str]) -> Any:
    def download(repo: str, path: str, cache_dir: Path | None = None) -> str:
        calls.append(repo)
        raise error

    return download


def test_a_hub_that_cannot_be_reached_is_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import LocalEntryNotFoundError

    calls: list[str] = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download", refusing(LocalEntryNotFoundError("no network"), calls)
    )
    with pytest.raises(ModelError, match="the Hub cannot be reached") as caught:
        WeightFinder(hub_cache=tmp_path).find("viclip")
    assert calls == ["OpenGVLab/ViCLIP"]
    assert "--weights DIR" in str(caught.value)


def test_a_file_that_is_not_there_sends_to_the_next_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", refusing(OSError("404: no such file"), calls))
    with pytest.raises(ModelError, match="404: no such file"):
        WeightFinder(hub_cache=tmp_path).find("viclip")
    assert calls == [file.repo for file in FILES["viclip"]]


def published_at(path: Path, monkeypatch: pytest.MonkeyPatch, **known: str) -> WeightFile:
    file = replace(FILES["aesthetic"][0], url=path.as_uri(), md5="", **known)
    monkeypatch.setitem(FILES, "aesthetic", (file,))
    return file


def test_a_file_that_is_not_on_the_hub_is_fetched_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").write_bytes(b"weights")
    published_at(tmp_path / "there", monkeypatch, sha256=hashlib.sha256(b"weights").hexdigest()[:8])
    finder = WeightFinder(cache=tmp_path / "cache")
    assert finder.look("aesthetic") is None
    found = finder.find("aesthetic")
    assert (found.place, found.path.read_bytes(), finder.is_published(found)) == (
        "download",
        b"weights",
        True,
    )
    (tmp_path / "there").unlink()
    assert finder.find("aesthetic").place == "cache"


def test_a_fetched_file_with_another_hash_is_refused_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").write_bytes(b"something else")
    published_at(tmp_path / "there", monkeypatch, sha256="0" * 8)
    finder = WeightFinder(cache=tmp_path / "cache")
    with pytest.raises(ModelError, match="its hash is not that of the published"):
        finder.find("aesthetic")
    assert finder.look("aesthetic") is None


def test_a_file_of_the_users_own_is_used_whatever_its_hash_and_reported_as_such(tmp_path: Path) -> None:
    write_weights(tmp_path, "aesthetic", aesthetic_head())
    towers = towers_at(tmp_path)
    facts = towers.provenance("aesthetic")
    path = tmp_path / "christophschuhmann/improved-aesthetic-predictor/sac+logos+ava1-l14-linearMSE.pth"
    assert facts["is_published"] is False
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (facts["file"], facts["size"], facts["dtype"]) == (path.name, path.stat().st_size, "fp32")


def test_hashes_are_kept_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"one")
    first = WeightFinder(cache=tmp_path / "cache").sha256(path)
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", lambda *args: pytest.fail("hashed again"))
        assert (
            WeightFinder(cache=tmp_path / "cache").sha256(path) == first == hashlib.sha256(b"one").hexdigest()
        )
    path.write_bytes(b"other")
    assert WeightFinder(cache=tmp_path / "cache").sha256(path) == hashlib.sha256(b"other").hexdigest()


def test_a_damaged_list_of_hashes_is_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "weights.bin"
    path.write_bytes(b"one")
    (tmp_path / "hashes.json").write_text("[1, 2")
    assert WeightFinder(cache=tmp_path).sha256(path) == hashlib.sha256(b"one").hexdigest()


def test_pickles_of_old_and_new_torch_and_wrapped_ones_are_read(tmp_path: Path) -> None:
    state = {"a": torch.arange(3.0)}
    torch.save({"model": state}, tmp_path / "new.pth")
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "safe.safetensors")
    for name in ("new.pth", "old.pth", "safe.safetensors"):
        assert torch.equal(read_state(tmp_path / name)["a"], state["a"])


class Evil:
    """Would run code when a pickle of it is loaded without care."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/tmp/vedit-evil"),))


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 not a zip", b"\x00" * 100], ids=["empty", "cut zip", "zeros"]
)
@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_damaged_files_are_an_error_with_their_name(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ModelError, match=name):
        read_state(path)


def test_a_safetensors_file_that_was_cut_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    save_file({"a": torch.arange(1000.0)}, path)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelError, match=r"cut\.safetensors"):
        read_state(path)


@pytest.mark.parametrize(
    "header",
    [b"[" * 50_000, b'{"a": ' * 20 + b"1" + b"}" * 20, b"[1]", b"{", b'{"a": 1}', b'{"a": {"dtype": "F32"}}'],
    ids=["nested brackets", "nested tables", "a list", "cut", "a number", "no place"],
)
def test_a_header_of_another_shape_is_an_error_with_the_name_of_the_file(
    tmp_path: Path, header: bytes
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(ModelError, match=r"weights\.safetensors"):
        read_state(path)


def test_all_dtypes_of_published_files_are_read(tmp_path: Path) -> None:
    state = {
        str(dtype): torch.arange(6).view(2, 3).to(dtype)
        for dtype in (torch.float32, torch.float16, torch.bfloat16, torch.int64)
    }
    state["scalar"] = torch.tensor(4.6)
    save_file(state, tmp_path / "all.safetensors", {"format": "pt"})
    found = read_state(tmp_path / "all.safetensors")
    assert found.keys() == state.keys()
    assert all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in state.items()
    )


def test_a_pickle_with_more_than_tensors_is_refused_unrun(tmp_path: Path) -> None:
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError, match="cannot be read"):
        read_state(tmp_path / "evil.pth")
    assert not Path("/tmp/vedit-evil").exists()


def test_one_large_tower_is_in_memory_beside_a_light_one(tiny_weights: Path) -> None:
    towers, video = towers_at(tiny_weights), moving_video(2)
    clip_l, head, dino = (towers.get(name) for name in ("clip_l", "aesthetic", "dinov2"))
    head.scores(clip_l.images(video)["projected"])
    assert clip_l.is_loaded and head.is_loaded
    dino.cropped(video)
    assert dino.is_loaded and head.is_loaded and not clip_l.is_loaded
    with towers.open("clip_l") as opened:
        opened.text("a dog")
        assert opened is clip_l and clip_l.is_loaded and not dino.is_loaded
    assert not clip_l.is_loaded


def test_kept_features_need_no_network_and_are_bit_equal(tiny_weights: Path, tmp_path: Path) -> None:
    video = moving_video(2)
    first = towers_at(tiny_weights, store=FeatureStore(tmp_path)).get("clip_l")
    again = towers_at(tiny_weights, store=FeatureStore(tmp_path)).get("clip_l")
    np.testing.assert_array_equal(again.images(video)["pooled"], first.images(video)["pooled"])
    np.testing.assert_array_equal(again.images(video)["pooled"], first.images(video)["pooled"])
    assert again.is_loaded and not first.is_loaded  # what is written first is evaluated first
    third = towers_at(tiny_weights, store=FeatureStore(tmp_path)).get("clip_l")
    np.testing.assert_array_equal(third.images(video)["pooled"], first.images(video)["pooled"])
    assert not third.is_loaded


def test_other_pixels_weights_or_dtypes_have_features_of_their_own(
    tiny_weights: Path, tmp_path: Path
) -> None:
    store, video = FeatureStore(tmp_path), moving_video(1)
    changed = moving_video(1)
    changed.frames_TYX3[0, 0, 0, 0] ^= 1
    for options, clip in ((OPTIONS, video), (OPTIONS, changed), (replace(OPTIONS, dtype="bf16"), video)):
        towers_at(tiny_weights, options, store).get("dinov2").cropped(clip)
    assert len(list(tmp_path.iterdir())) == 3
    assert towers_at(tiny_weights, replace(OPTIONS, dtype="bf16")).get("dover").precision == "fp32"


def test_a_damaged_kept_file_is_computed_again(tiny_weights: Path, tmp_path: Path) -> None:
    video = moving_video(1)
    expected = towers_at(tiny_weights, store=FeatureStore(tmp_path)).get("dinov2").cropped(video)["cls"]
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:20])
    np.testing.assert_array_equal(
        towers_at(tiny_weights, store=FeatureStore(tmp_path)).get("dinov2").cropped(video)["cls"], expected
    )


def test_the_longest_unused_features_go_first(tmp_path: Path) -> None:
    import os

    store = FeatureStore(tmp_path, disk_mib=2)
    for index, key in enumerate(("old", "used", "new")):
        store.put(key, {"x": np.zeros(2**18 - 100, np.float32)})  # just under 1 MiB
        if key != "new":
            os.utime(tmp_path / f"{key}.features.safetensors", (index, index))
    assert sorted(file.name.split(".")[0] for file in tmp_path.iterdir()) == ["new", "used"]


def test_memory_holds_the_last_features_only() -> None:
    store = FeatureStore(memory_mib=2)
    for key in "abc":
        store.put(key, {"x": np.zeros(2**18 - 100, np.float32)})
    assert [store.get(key) is not None for key in "abc"] == [False, True, True]


def test_a_folder_that_cannot_be_written_costs_no_result(tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    towers = Towers(
        OPTIONS, WeightFinder(tiny_weights, cache=tmp_path / "file"), FeatureStore(tmp_path / "file")
    )
    assert towers.get("dinov2").cropped(moving_video(1))["cls"].shape == (1, 32)


def test_both_files_of_the_aesthetic_head_give_the_same_scores(tmp_path: Path) -> None:
    state = aesthetic_head()
    write_weights(tmp_path / "pickle", "aesthetic", state)
    tower_too = {
        **state,
        "vision_model.embeddings.class_embedding": torch.zeros(1024),
        "visual_projection.weight": torch.zeros(768, 1024),
    }
    write_weights(tmp_path / "safe", "aesthetic", tower_too, choice=1)
    embeddings = np.random.default_rng(0).normal(size=(3, 768)).astype(np.float32)
    found = [towers_at(tmp_path / kind).get("aesthetic").scores(embeddings) for kind in ("pickle", "safe")]
    np.testing.assert_allclose(
        *found, rtol=1e-6
    )  # not bit-equal: where a mapped file's tensors begin moves the last digit


def test_the_published_head_has_927969_weights() -> None:
    assert sum(value.numel() for value in aesthetic_head().values()) == 927_969
