"""The same edit of several clips: `vedit edit DIR|FILES... -O OUT`, as rows of a batch.

made = plan_clips(["clips"], "out", EditRequest(input="", prompt="a blue circle"))
outcome = run_here(made)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from vedit import methods, presets
from vedit.errors import InputError, UsageError, may_replace, option, refuse_mistakes
from vedit.jobs.batch.files import expand, holds_pictures
from vedit.jobs.batch.plan import Plan, plan
from vedit.jobs.batch.rows import Row
from vedit.jobs.batch.run import Outcome
from vedit.jobs.batch.state import made_in
from vedit.jobs.edit.request import EditRequest
from vedit.jobs.edit.settings import own_model
from vedit.media.formats import CLIP_SUFFIXES, STILLS, output_format, suffix_of

Say = Callable[[str], None]
LARGEST = (2**20, 2**20)  # frames of any clip lie in it
OF_ONE = ("inversion", "save_masks", "save_attention", "preview", "ablate", "truth")


def plan_clips(
    inputs: Sequence[str],
    out: str,
    request: EditRequest,
    *,
    suffix: str = "",
    overwrite: bool | None = None,
    say: Say = lambda message: None,
) -> Plan:
    """The edits of all clips, with those that are done already; nothing is written.

    inputs: clips, folders of clips, folders of pictures that are clips. request: what they share; its input
    and output do not count. overwrite: whether a file that is not this very edit may be replaced; False
    leaves such clips out, None lets the face decide, and the clip fails where it says no. Raises VeditError
    for what is wrong with all of them.
    """
    request = replace(request, model=own_model(request.method, request.set, request.model))
    check_shared(request)
    made = plan(rows_of(inputs, out, request, suffix, say), out, overwrite=True, replaces=False)
    made.failed = {}  # the same call tries again
    if not overwrite:
        _keep_taken(made, overwrite, say)
    if made.open():
        check_values(request)
    return made


def raise_unfinished(out: str, outcome: Outcome) -> str:
    """What came of a call in words; raises PartialFailure and Stopped."""
    return outcome.concluded(
        out, "clips", f"{out}/failed.csv has the reasons; the same call tries these again"
    )


def _keep_taken(made: Plan, overwrite: bool | None, say: Say) -> None:
    """Leave files alone that are not these very edits."""
    for item in made.taken:
        path = os.path.join(made.state.out, item.output)
        if overwrite is None and may_replace(path):
            continue
        if overwrite is None and not item.twin:
            replace_it, leave_it = option("overwrite", True), option("overwrite", False)
            next_step = f"Add {replace_it} to replace it, or {leave_it} to leave it as it is"
            made.refused[item.key] = f"{path} exists.\n{next_step}"
            continue
        said = "" if overwrite is None else f" ({option('overwrite', False)})"
        say(f"{path} exists, and is left as it is{said}")
        made.items.remove(item)


def rows_of(
    inputs: Sequence[str], out: str, request: EditRequest, suffix: str = "", say: Say = lambda message: None
) -> list[Row]:
    """A row for each clip, its output named as the clip is. Raises UsageError, InputError."""
    if "-" in inputs:
        raise UsageError("standard input is one clip.", "", f"Write its edit with {option('output', 'FILE')}")
    for name in inputs:
        if not os.path.lexists(name):
            raise InputError(f"{name}: there is no such file or folder.", "", "Check the name")
    masks = [spec for spec in request.mask if _folder_of(spec)]
    own = made_in(out)  # an earlier call may have written where the clips lie
    found = [
        (path, relative)
        for path, relative in expand(
            inputs, say=say, is_wanted=lambda name: suffix_of(name) != "", results=out, has_sequences=True
        )
        if os.path.realpath(path) not in own and not _is_mask(path, masks)
    ]
    if not found:
        raise UsageError(f"no clips found in {', '.join(inputs)}.", f"Looked for {' '.join(CLIP_SUFFIXES)}.")
    wrong: list[str] = []
    rows = []
    for number, (path, relative) in enumerate(found, 1):
        output = _renamed(path, relative, suffix)
        output_format(output)
        asked = replace(request, input=os.path.abspath(path), output=None, overwrite=False)
        if masks:
            named = tuple(_mask_of(spec, path, relative, len(found), wrong) for spec in request.mask)
            asked = replace(asked, mask=named)
        written = {"output": output}
        rows.append(Row(number, path, asked, asked.method, output, {}, "", None, None, written, {}))
    refuse_mistakes(option("mask"), wrong)
    return rows


def _is_mask(path: str, masks: Sequence[str]) -> bool:
    """Whether a clip that was found lies in a folder of masks."""
    real = os.path.realpath(path)
    folders = [os.path.realpath(_folder_of(spec) or "") for spec in masks]
    return any(real == folder or real.startswith(folder + os.sep) for folder in folders)


def _renamed(path: str, relative: str, suffix: str) -> str:
    """The name below the folder for outputs; a folder of pictures becomes a GIF."""
    if os.path.isdir(path):
        return f"{relative}{suffix}.gif"
    stem, kind = os.path.splitext(relative)
    return f"{stem}{suffix}{kind}"


# --- masks that lie in a folder, one per clip ----------------------------------------------------


def _folder_of(spec: str) -> str | None:
    """The folder that a mask names, or None."""
    from vedit.jobs.masks import file_of

    file = file_of(spec)
    return file if file and os.path.isdir(file) else None


def _mask_of(spec: str, path: str, relative: str, count: int, wrong: list[str]) -> str:
    """A mask of one clip: that of its name, where a folder of masks was named."""
    folder = _folder_of(spec)
    if folder is None:
        return spec
    found = list(_named_as(folder, path, relative))
    if len(found) == 1:
        return spec.replace(folder, found[0])
    if not found and count == 1 and holds_pictures(folder):
        return spec  # the frames of one mask
    stem = os.path.splitext(os.path.basename(relative))[0]
    wrong.append(
        f"{path}: {folder} has {' and '.join(map(os.path.basename, found))}; one of them can be its mask."
        if found
        else f"{path}: there is no mask {os.path.join(folder, stem)}.png, .gif or .mp4 for it."
    )
    return spec


def _named_as(folder: str, path: str, relative: str) -> Iterator[str]:
    """Files and folders of pictures that are called as a clip is, where it lies or at the top."""
    stem = relative if os.path.isdir(path) else os.path.splitext(relative)[0]
    for place in dict.fromkeys((os.path.dirname(stem), "")):
        inside = os.path.join(folder, place)
        names = sorted(os.listdir(inside)) if os.path.isdir(inside) else []
        own = [name for name in names if _is_called(name, os.path.basename(stem))]
        yield from (os.path.join(inside, name) for name in own)
        if own:
            return


def _is_called(name: str, stem: str) -> bool:
    return name == stem or (
        os.path.splitext(name)[0] == stem and name.lower().endswith((*CLIP_SUFFIXES, *STILLS))
    )


# --- what is wrong with all of them --------------------------------------------------------------


def check_shared(request: EditRequest) -> None:
    """Refuse what no clip could be edited with, as far as that is seen at once. Raises VeditError."""
    from vedit.jobs.edit.before import asked_of, check_instruction, check_prompts, prompts_of
    from vedit.jobs.edit.plan import check_source
    from vedit.jobs.edit.settings import refuse_unknown
    from vedit.jobs.masks import check_specs

    for name in OF_ONE:
        if getattr(request, name):
            raise UsageError(
                f"{option(name)} is for one clip.", "", f"Name one, and {option('output', 'FILE')}"
            )
    if request.prompt is None:
        raise UsageError(f"edit needs {option('prompt')}.", "It says what the clips should show.")
    if not methods.has(request.method):
        methods.load(request.method)  # raises, naming those there are
    if request.preset:
        presets.find(request.preset)
    refuse_unknown(request.method, request.set, request.own_options)
    asked_of(request)
    check_specs(request.mask, LARGEST)
    check_source(request)
    check_instruction(request)
    check_prompts(request.model, prompts_of(request))


def check_values(request: EditRequest) -> None:
    """Refuse values that the method does not take; loads the library that the edit needs anyway."""
    from vedit.jobs.edit.settings import method_params
    from vedit.jobs.extras import need

    need("diffusion")
    method_params(request.method, request.preset, request.set, request.model, **request.own_options)
