"""How the words and tokens of two prompts correspond.

Source: Hertz et al. 2022 and its public code (`seq_aligner.py`, `ptp_utils.py`); docs/methods.md 2.1-2.3.
Shape letters: L text tokens, S source tokens, T target tokens (S = T = L here), N sampling steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from vedit.engine.rules import step_range
from vedit.errors import UsageError, option
from vedit.models.prompt import Prompt

Span = float | tuple[float, float]


def replacement_map(source: Prompt, target: Prompt, *, compat: bool = False) -> Tensor:
    """A (S, T): the share of each source token's map that a target token takes; word swap.

    Token to token where two words have equally many pieces, else every new token takes 1/|T| of
    the sum of the old ones. compat: after the last differing word the reference maps position j to
    position j, also where the two prompts have drifted apart; by default words map to words.
    Raises UsageError for prompts with different numbers of words.
    """
    if len(source.words) != len(target.words):
        raise UsageError(
            f"the prompts have different lengths (source {len(source.words)} words, target"
            f" {len(target.words)}).",
            'Swapping words needs equal numbers; mode = "refine" does not.',
            f"Try {option('set.mode', 'refine')}",
        )
    length = source.length
    map_ST = torch.zeros(length, length)
    changed = [place for place in range(len(source.words)) if source.words[place] != target.words[place]]
    # begin token, words, end token with the padding after it
    groups: list[tuple[Sequence[int], Sequence[int]]] = [
        ((0,), (0,)),
        *zip(source.places, target.places, strict=True),
    ]
    tail = (len(source.ids) - 1, len(target.ids) - 1)
    if compat and changed:
        last = changed[-1]
        groups = groups[: last + 2]
        source_next, target_next = source.places[last][-1] + 1, target.places[last][-1] + 1
        # the reference's loop ends when either side runs out
        identical = range(target_next, length - max(0, source_next - target_next))
        map_ST[identical, identical] = 1
    else:
        padding = torch.arange(length - tail[1])
        map_ST[(tail[0] + padding).clamp(max=length - 1), tail[1] + padding] = 1
    for old, new in groups:
        if len(old) == len(new):
            map_ST[list(old), list(new)] = 1
        else:
            for token in new:
                map_ST[list(old), token] = 1 / len(new)
    return map_ST


def alignment(source: Prompt, target: Prompt) -> tuple[Tensor, Tensor]:
    """m (T,) and beta (T,): the source token that each target token corresponds to; refinement.

    Where there is none m is -1 and beta is 0. Positions behind the target's end stay where they are.
    Global alignment of the token ids (Needleman-Wunsch) with gap 0, match +1, mismatch -1; ties
    insert a target token first, then skip a source token, then take both, as the reference does.
    """
    x, y = source.ids, target.ids
    score = [[0] * (len(y) + 1) for _ in range(len(x) + 1)]
    for i, a in enumerate(x, 1):
        for j, b in enumerate(y, 1):
            score[i][j] = max(score[i][j - 1], score[i - 1][j], score[i - 1][j - 1] + (1 if a == b else -1))
    m_T = torch.arange(target.length)
    i, j = len(x), len(y)
    while j:
        if i == 0 or score[i][j] == score[i][j - 1]:
            j -= 1
            m_T[j] = -1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            m_T[j] = i
    return m_T, m_T.ne(-1).float()


def equalizer(target: Prompt, weights: Mapping[str, float]) -> Tensor:
    """c (T,): 1, but the given factor at the tokens of each named word of the target prompt."""
    c_T = torch.ones(target.length)
    for word, weight in weights.items():
        c_T[list(target.tokens_of(word))] = float(weight)
    return c_T


def column_schedule(target: Prompt, steps: int, spans: Span | Mapping[str, Span]) -> Tensor:
    """alpha (N, T): 1 where a target token's column is replaced in a step.

    spans: a share of the steps, a pair of shares, or a table of them by word. In a table the key
    `default_` holds for all other columns (begin, end and padding too), and is (0, 1) when missing.
    """
    table = dict(spans) if isinstance(spans, Mapping) else {"default_": spans}
    alpha_NT = _column(steps, table.pop("default_", 1.0)).unsqueeze(1).repeat(1, target.length)
    for word, span in table.items():
        alpha_NT[:, list(target.tokens_of(word))] = _column(steps, span).unsqueeze(1)
    return alpha_NT


def _column(steps: int, span: Span) -> Tensor:
    return torch.tensor(step_range(steps, *as_pair(span)), dtype=torch.float32)


def as_pair(span: Span) -> tuple[float, float]:
    """A share of the steps as (start, end): a number starts at 0."""
    return span if isinstance(span, tuple) else (0.0, float(span))
