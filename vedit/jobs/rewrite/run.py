"""Rewrite prompts, check them, and say what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from vedit.errors import ModelError, RemoteError, UsageError, VeditError, option
from vedit.jobs.lists import caption_key, check_list, moved, read_list, write_list
from vedit.jobs.rewrite.asking import Answer, Refused, asked, check, template_of
from vedit.jobs.rewrite.lexicon import load_lexicon
from vedit.jobs.rewrite.request import RULES, RewriteListRequest, RewriteOptions, RewriteRequest
from vedit.jobs.rewrite.rules import rewritten
from vedit.jobs.rewrite.speakers import Speaker, opened
from vedit.jobs.rewrite.words import changes, distance
from vedit.jobs.sink import Quiet, Sink

Made = dict[str, Any]
PROMPT_KEYS = ("prompt", "target_prompt", "target")


def rewrite(request: RewriteRequest, sink: Sink = Quiet()) -> Made:
    """The target prompt, what stands for what, words to blend by and to emphasise, and the distance.

    Raises UsageError where the rules do not understand or what they make is no prompt of its mode; ModelError
    and RemoteError for a model that has no answer.
    """
    return Rewriter(request, sink).made(request)


class Rewriter:
    """What rewrites several prompts with one model. Raises UsageError where options do not go together."""

    def __init__(self, options: RewriteOptions, sink: Sink = Quiet()) -> None:
        if not 0 < options.max_distance <= 1:
            raise UsageError(
                f"max_distance = {options.max_distance:g} is not a share.", "It is above 0, at most 1."
            )
        if options.uses_rules:
            _refuse_unread(options)
        if options.lexicon is not None:
            load_lexicon(options.lexicon)  # what is wrong with it is told, whether a prompt needs it or not
        self.sink = sink
        self.speaker: Speaker | None = None if options.uses_rules else opened(options, sink.warn)

    def made(self, request: RewriteRequest) -> Made:
        """As `rewrite` says."""
        if not request.source.strip() or not request.instruction.strip():
            missing = "instruction" if request.source.strip() else "source prompt"
            raise UsageError(
                f"the {missing} is empty.", "A prompt is made of what the clip shows, and of words."
            )
        if self.speaker is None:
            return told(request, by_rules(request), {"method": RULES})
        found = asked(request, self.speaker, template_of(request))
        if isinstance(found, Answer):
            kept = "hit" if found.is_kept else "miss" if request.cache else "off"
            by = {"method": self.speaker.name, "tries": found.tries, "cache": kept}
            return told(request, found.target, by)
        return self._without(request, self.speaker, found)

    def _without(self, request: RewriteRequest, speaker: Speaker, refused: Refused) -> Made:
        """The rules' prompt where the model had none that does. Raises ModelError, RemoteError."""
        kind = ModelError if request.base_url is None else RemoteError
        why = "\n".join(f"  {reason}" for reason in refused.why)
        what = f"{speaker.name} gave no prompt that passes the checks, in {len(refused.why)} answers:\n{why}"
        if request.strict:
            raise kind(what, "", f"Leave out {option('strict', True)} to let rules do it, or ask for less")
        try:
            target = by_rules(request)
        except UsageError as error:
            raise kind(
                what, f"The rules do not help: {error.what}", "Ask for less, or write the prompt"
            ) from None
        self.sink.warn(f"{speaker.name} gave no prompt that passes the checks; rules made it")
        by = {"method": RULES, "tries": len(refused.why), "refused": list(refused.why)}
        return told(request, target, by)


def _refuse_unread(options: RewriteOptions) -> None:
    """Options of models that rules do not read are mistakes."""
    for name in ("llm_model", "key_env", "revision", "preset", "strict", "refresh"):
        if getattr(options, name):
            raise UsageError(
                f"{option(name)} is for a language model, and rules are none.",
                "",
                f"Add {option('llm', 'hub:OWNER/NAME')} or {option('base_url', 'https://HOST/v1')}",
            )


def by_rules(request: RewriteRequest) -> str:
    """The rules' prompt. Raises UsageError, also for one that is no prompt of its mode."""
    target = rewritten(request.source, request.instruction, request.lexicon)
    if why := check(request, target):
        kind = "an aligned prompt" if request.mode == "align" else f"a prompt of mode {request.mode}"
        raise UsageError(
            f'"{target}" is not {kind} for "{request.source}": {why}.',
            next_step=f"Allow more with {option('max_distance')}, or ask for less.",
        )
    return target


def told(request: RewriteRequest, target: str, by: Mapping[str, Any]) -> Made:
    """A prompt with what is different about it."""
    old, new = request.source.split(), target.split()
    found = changes(old, new)
    return {
        "source": request.source,
        "instruction": request.instruction,
        "target": target,
        "changes": [{"from": change.old, "to": change.new} for change in found],
        "blend": [[change.old, change.new] for change in found if change.old and change.new],
        "emphasise": [word for change in found for word in change.new.split()],
        "mode": request.mode,
        **by,
        "distance": round(distance(old, new), 4),
    }


def rewrite_list(
    request: RewriteListRequest, sink: Sink = Quiet()
) -> Iterator[tuple[str, Made | VeditError]]:
    """The rows of a list with the prompt of each, or what was wrong with it; the list is written at the end.

    A row has a source and an instruction; one that has a prompt is passed over. In the list that is written
    the instruction stands under _instruction, and who made the prompt under _rewrite, which a batch takes
    along. Raises UsageError, OutputError before a model is asked.
    """
    from vedit.media.atomic import check_output

    check_list(request.output)
    check_output(request.output, (), request.overwrite or None)
    rows = [_kept_aside(moved(row, request.list, request.output)) for row in read_list(request.list)]
    own = {field.name: getattr(request, field.name) for field in fields(RewriteOptions)}
    rewriter = Rewriter(request, sink)
    for number, row in enumerate(rows, 1):
        if _prompt(row) and not request.redo:
            continue
        instruction = row.get("_instruction") or request.instruction
        where = f"{request.list} row {number}"
        try:
            asked_for = RewriteRequest(source=_source(row), instruction=str(instruction or ""), **own)
            made = rewriter.made(asked_for)
        except VeditError as error:
            yield where, error.in_file(where)
            continue
        key = next((key for key in PROMPT_KEYS if key in row), "prompt")
        row |= {key: made["target"], "_instruction": instruction, "_rewrite": made["method"]}
        yield where, made
    write_list(request.output, rows)


def _kept_aside(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose instruction has a key that a batch takes along."""
    return {"_instruction" if key == "instruction" else key: value for key, value in row.items()}


def _prompt(row: Mapping[str, Any]) -> bool:
    return any(row.get(key) for key in PROMPT_KEYS)


def _source(row: Mapping[str, Any]) -> str:
    words = row.get(caption_key(row)) or ""
    return str(words[0] if isinstance(words, list) else words)
