"""What a rewritten prompt is asked for, as plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vedit.jobs.request import Request

Mode = Literal["align", "free", "generate", "description"]
RULES = "rules"


@dataclass(frozen=True, kw_only=True)
class RewriteOptions(Request):
    """How prompts are rewritten.

    mode: "align" keeps the source's wording and order, for methods that compare two prompts; "free" words it
    anew with the same actions; "generate" is the prompt of a generator; "description" says what an
    instruction leads to, for editors that want no imperative. max_distance: of words, as a share of the
    longer prompt, that "align" may change. forbid: words that may not be in the prompt. llm: "rules",
    "local:FOLDER" or "hub:ID"; None for rules, or with base_url for the model llm_model of that service.
    revision, device, dtype: of a local model. key_env, timeout: of a hosted one. preset: of kind "rewrite",
    what the model is told. lexicon: a TOML file of phrases for rules, before ours. strict: no rules where a
    model has failed. refresh: ask again for what the cache has. cache: whether answers are kept.
    """

    mode: Mode = "align"
    max_distance: float = 0.4
    forbid: tuple[str, ...] = ()
    llm: str | None = None
    base_url: str | None = None
    llm_model: str | None = None
    key_env: str | None = None
    timeout: float = 120
    revision: str | None = None
    device: str = "auto"
    dtype: Literal["auto", "fp32", "fp16", "bf16"] = "auto"
    preset: str | None = None
    lexicon: str | None = None
    strict: bool = False
    refresh: bool = False
    cache: bool = True

    @property
    def uses_rules(self) -> bool:
        return self.base_url is None and self.llm in (None, RULES)


@dataclass(frozen=True, kw_only=True)
class RewriteRequest(RewriteOptions):
    """The prompt that an instruction makes of a source prompt.

    source: what the clip shows. instruction: what should become of it.
    """

    source: str
    instruction: str


@dataclass(frozen=True, kw_only=True)
class RewriteListRequest(RewriteOptions):
    """The prompts of a list: rows with a source and an instruction get a prompt.

    list: CSV or JSON lines. output: the list that is written. instruction: of rows that have none.
    overwrite: the output may be replaced. redo: rows that have a prompt are rewritten, too.
    """

    list: str
    output: str
    instruction: str | None = None
    overwrite: bool = False
    redo: bool = False
