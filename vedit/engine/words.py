"""Where words look: cross-attention maps of a run, summed per branch and scale, as masks and pictures read
them.

Shape letters: F frames, Q query tokens, L text tokens, y x rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vedit.engine.blend import finest, word_map
from vedit.engine.fit import fitted, stretched
from vedit.engine.rules import Probe
from vedit.engine.store import MapStore
from vedit.models.family import Network
from vedit.models.sites import Select, select_sites

MAP_SIDE = 16  # the published masks are made of 16x16 maps
START = 0  # place of the start token in every prompt

GROUPED = (
    2  # self-attention is read in every second step: what belongs together changes little, and maps cost
)


class WordMaps:
    """The maps of some branches at some scales: the probes that sum them, and a word's share of the sums.

    scales: the latent's side divided by these; several are averaged, each by its number of modules.
    size: rows and columns of the latent. groups: also sum self-attention at the finest of these scales, which
    `fitted` spreads maps along, from step `first` on. Raises ModelError for a scale without cross-attention.
    """

    def __init__(
        self,
        network: Network,
        branches: Sequence[str],
        scales: Sequence[int],
        size: tuple[int, int],
        what: str = "scales",
        groups: bool = False,
        first: int = 0,
    ) -> None:
        self.branches, self.grids, self.weights = (
            tuple(branches),
            dict[int, tuple[int, int]](),
            dict[int, int](),
        )
        self.groups, self.first, sites = groups, first, network.sites()
        for scale in scales:
            found = select_sites(sites, Select("cross", scales=(scale,)), what)
            self.grids[scale], self.weights[scale] = found[0].grid(size), len(found)

    def probes(self) -> tuple[Probe, ...]:
        """What sums the maps while the network runs."""
        crossing = tuple(
            Probe(
                Select("cross", scales=(scale,)),
                branch,
                f"{branch}/{scale}",
                f"maps of {branch} at 1/{scale}",
            )
            for branch in self.branches
            for scale in self.grids
        )
        if not self.groups:
            return crossing
        finest_scale = min(self.grids)
        grouping = tuple(
            Probe(
                Select("self", scales=(finest_scale,)),
                branch,
                f"{branch}/self",
                f"self-attention of {branch} at 1/{finest_scale}",
                every=GROUPED,
                first=self.first,
            )
            for branch in self.branches
        )
        return (*crossing, *grouping)

    def of(self, store: MapStore, branch: str, tokens: Sequence[int]) -> Tensor:
        """The summed map (F, 1, y, x) of some tokens, over modules, heads and steps so far."""
        maps = [word_map(store.sums[f"{branch}/{scale}"], tokens, grid) for scale, grid in self.grids.items()]
        return finest(maps, list(self.weights.values()))

    def fitted(
        self,
        store: MapStore,
        branch: str,
        tokens: Sequence[int],
        guide: Tensor | tuple[int, int],
        threshold: float,
        *,
        salient: bool = False,
    ) -> Tensor:
        """The soft mask (F, 1, Y, X) of some tokens, as `vedit.engine.fit.fitted` makes it.

        salient: weigh the map by where the start token does not look, which is where words say something.
        """
        looked = self.of(store, branch, tokens)
        if salient:
            looked = stretched(looked) * stretched(-self.of(store, branch, [START]))
        return fitted(looked, store.sums[f"{branch}/self"], guide, threshold)


def published_scale(network: Network, size: tuple[int, int]) -> int:
    """The scale whose maps have a shorter side nearest to 16: 4 for pictures whose own is 512 pixels."""
    sites = [site for site in network.sites() if site.kind == "cross"]
    return min(sites, key=lambda site: (abs(min(site.grid(size)) - MAP_SIDE), site.scale)).scale
