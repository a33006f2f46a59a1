"""Will an edit fit? What it needs, what the device has, and what would need less."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from vedit.errors import MemoryBudgetError, option

if TYPE_CHECKING:
    from vedit.engine.memory import Need
    from vedit.jobs.edit.windows import Edit
    from vedit.methods.base import Request

MIB = 2**20


def need_of(
    edit: Edit,
    frames_per_call: int | None = None,
    offload: str | None = None,
    pictures: int | None = None,
) -> Need:
    """What an edit takes at most, by parts; with other settings than its own if they are given.

    pictures: of a window, where the network sees its frames all at once.
    """
    from vedit.engine.memory import MARGIN, Need, codec_peak
    from vedit.methods.sampled import bound

    model, prepared = edit.model, edit.prepared
    offload = offload or model.offload
    calls = min(frames_per_call or edit.job.frames_per_call, edit.window)
    # without a window asked for, it shrinks with the frames per call
    window = edit.window if edit.job.window or edit.is_whole else calls
    if model.frame_axis:
        calls = window = pictures or window
    share, coded = window / edit.window, calls
    calls, window = model.frames(calls), model.frames(window)
    size = model.latent_size(edit.pixels.selection.shape)
    seen = prepared.seen or replace(edit.request, frames=window)
    controller = bound(model, seen, prepared.plan, prepared.branches, seen.frames)
    at_once = seen.frames_together(calls)
    at_once = (seen.frames if controller.takes_all else at_once) + prepared.beside
    kept = controller.store.predicted_bytes() + controller.held
    latents = 4 * model.channels * size[0] * size[1] * window
    text, codec = model.text_bytes(), model.codec_bytes()
    # latents of each branch, the network's answer and what the step makes of them
    held = kept + int(prepared.held_bytes * share) + 4 * len(prepared.branches) * latents
    network = int(passes_peak(edit, seen, at_once, calls) * MARGIN)
    coding = int(codec_peak(model, coded, size) * MARGIN)
    if offload == "none":
        return Need(model.network_bytes() + codec + text, max(network, coding), held)
    staying = model.network_bytes() if offload == "model" else 0
    return Need(staying, max(network, coding + codec, text), held)


def passes_peak(edit: Edit, seen: Request, at_once: int, calls: int) -> int:
    """What a pass of the network takes at most: of the edit, of tuning, and of null embeddings.

    seen: what the network is shown. at_once: its pictures in a call. calls: frames of the clip in one.
    """
    from vedit.engine.inflation import inflated
    from vedit.engine.memory import network_peak, null_peak, tuning_peak

    model, params, prepared = edit.model, edit.params, edit.prepared
    size = model.latent_size(edit.pixels.selection.shape)
    peaks = [network_peak(model, prepared.plan, prepared.branches, at_once, seen.size)]
    if params.tuning is not None:
        if edit.tuning_peak is None:  # settings that might need less are tried one by one, and it is the same
            edit.tuning_peak = tuning_peak(inflated(model), params.inflation, edit.frames, size)
        peaks.append(edit.tuning_peak)
    if params.null is not None and params.null.inner_steps:
        together = calls if params.inflation == "none" else edit.frames
        peaks.append(null_peak(model, params.inflation, together, size))
    return max(peaks)


def check_memory(edit: Edit, limit_mib: int | None = None) -> None:
    """Refuse an edit that does not fit, naming what would; raises MemoryBudgetError.

    limit_mib: what may be used, weights included; by default what the device has free now.
    """
    from vedit.engine.memory import available

    device = edit.model.device
    free = available(device) if limit_mib is None else limit_mib * MIB
    if free is None:
        return
    need = need_of(edit)
    # weights are loaded already, unless they come and go
    room = free + (need.weights if limit_mib is None and edit.model.offload == "none" else 0)
    if need.total <= room:
        return
    where = (
        f"{device} has {amount(room)}" if limit_mib is None else f"{option('memory')} allows {limit_mib} MiB"
    )
    width, height = edit.pixels.selection.shape
    dtype = str(edit.model.dtype).removeprefix("torch.")
    at_once = edit.window if edit.model.frame_axis else min(edit.job.frames_per_call, edit.window)
    fits = [f"{what} (about {amount(less.total)})" for what, less in alternatives(edit) if less.total <= room]
    raise MemoryBudgetError(
        f"needs about {amount(need.total)}, {where} ({at_once} frames at once, {width}x{height}, {dtype}).",
        f"Weights take {amount(need.weights)}, a call {amount(need.working)}, maps and latents"
        f" {amount(need.held)}.",
        (
            f"Try {' or '.join(fits[:2])}"
            if fits
            else f"Nothing here would fit: try a smaller {option('size')}, or another device"
        ),
    )


def alternatives(edit: Edit) -> Iterator[tuple[str, Need]]:
    """Settings that need less, the least change first."""
    if edit.model.frame_axis:  # a clip that is inverted has no windows
        name = "frames" if "inversion" in edit.module.NEEDS else "window"
        for fits in shorter(edit):
            yield option(name, fits), need_of(edit, pictures=fits)
    calls = 0 if edit.model.frame_axis else min(edit.job.frames_per_call, edit.window) // 2
    while calls >= 1:
        yield option("frames_per_call", calls), need_of(edit, calls)
        calls //= 2
    if edit.model.device.type != "cpu":
        for offload in ("model", "sequential"):
            if offload != edit.model.offload:
                yield option("offload", offload), need_of(edit, offload=offload)
                if not edit.model.frame_axis:
                    yield (
                        f"{option('offload', offload)} {option('frames_per_call', 1)}",
                        need_of(edit, 1, offload),
                    )


def shorter(edit: Edit) -> list[int]:
    """Lengths of clips that fill whole latents, from half of the window on, longest first."""
    halves = (edit.window >> place for place in range(1, edit.window.bit_length()))
    return list(dict.fromkeys(edit.model.filled(max(1, half - 3)) for half in halves))


def amount(size: int) -> str:
    """Bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / MIB:.1f} MiB"


def told(need: Need, edit: Edit) -> str:
    """A line for --explain."""
    from vedit.engine.memory import available

    free = available(edit.model.device)
    rest = "" if free is None else f"; {edit.model.device} has {amount(free)} free"
    return (
        f"memory: about {amount(need.total)} (weights {amount(need.weights)}, a call {amount(need.working)},"
        f" maps and latents {amount(need.held)}){rest}; {edit.frames} frames in windows of {edit.window}"
    )
