"""VidToMe: Plug-and-Play whose self-attention runs over the merged tokens of neighbouring frames.

Source: Li et al. 2024, defaults as in lixirui142/VidToMe; docs/methods.md 7.15. Each step cuts the clip into
calls of a few frames, elsewhere every time. Of a call the tokens that are most alike those of a drawn frame
take that frame's place before self-attention and get its outputs after it, so that they look the same;
what is left is merged with the calls before. Less is computed, too.

Every method of pictures can merge in this way: `merge` is an option of each.
"""

from __future__ import annotations

from pydantic import AliasChoices, Field

from vedit.methods import pnp
from vedit.methods.base import Prepared, Request
from vedit.methods.params import Share
from vedit.models.family import Family

SUMMARY = "Plug-and-Play with the tokens of neighbouring frames merged, against flicker."
NEEDS = frozenset({"inversion", "pictures"})


class Params(pnp.Params):
    merge: Share = Field(
        0.9,
        validation_alias=AliasChoices("merge", "local_merge_ratio"),
        description="share of the tokens of neighbouring frames that self-attention merges; 0 merges none",
    )
    merge_across: Share = Field(
        0.8,
        validation_alias=AliasChoices("merge_across", "global_merge_ratio"),
        description="share of what is left that is merged with frames further off",
    )


def prepare(model: Family, request: Request, params: Params) -> Prepared:
    """Raises ModelError for a layer that the model does not have."""
    return pnp.prepare(model, request, params)
