"""Colours of films: which ones they name, and the way from high dynamic range to what SDR can show.

Source: ITU-R BT.2100 (PQ, HLG), BT.2408 (diffuse white at 203 nits). Tone curves are those of
ffmpeg's `tonemap`. Ours: the knee of mobius at 0.6, so that white stays white, and a peak of
1000 nits for a film that names none.
"""

from typing import NamedTuple

CURVES = ("none", "mobius", "hable", "reinhard", "gamma", "linear", "clip")
DEFAULT_CURVE = "mobius"
WHITE_NITS, PEAK_NITS, BRIGHTEST_NITS = 203, 1000, 10000
HDR = {"smpte2084": "PQ", "arib-std-b67": "HLG"}
WIDE = ("bt2020", "smpte431", "smpte432")
MATRICES = (
    "bt709",
    "smpte170m",
    "bt470bg",
    "bt2020nc",
    "bt2020c",
    "fcc",
    "smpte240m",
    "gbr",
    "ycgco",
    "ictcp",
)
HD_WIDTH, HD_HEIGHT = (
    1280,
    576,
)  # players take larger films that do not say for BT.709, smaller ones for BT.601


class Light(NamedTuple):
    """What a film says about its colours; "" where it says nothing. peak_nits: its brightest point."""

    range: str = ""
    matrix: str = ""
    primaries: str = ""
    transfer: str = ""
    peak_nits: int = 0

    @property
    def is_hdr(self) -> bool:
        return self.transfer in HDR

    @property
    def is_wide(self) -> bool:
        return self.primaries in WIDE or self.is_hdr


def parse_light(color: str, peak_nits: int = 0) -> Light:
    """Read `tv, bt2020nc/bt2020/smpte2084` or `pc, bt709`, as ffmpeg prints it."""
    range = matrix = primaries = transfer = ""
    for part in color.split(", "):
        names = ["" if name in ("unknown", "reserved") else name for name in part.split("/")]
        if part in ("tv", "pc"):
            range = part
        elif len(names) == 3:
            matrix, primaries, transfer = names
        elif part in MATRICES:
            matrix = primaries = transfer = part
    return Light(range, matrix, primaries, transfer, peak_nits)


def matrix_of(light: Light, width: int, height: int) -> str:
    """The matrix of a film, by its size where it says none, as players do."""
    return light.matrix or ("bt709" if width >= HD_WIDTH or height > HD_HEIGHT else "smpte170m")


def to_sdr(light: Light, curve: str = DEFAULT_CURVE) -> str:
    """ffmpeg filters that make BT.709 RGB of HDR, or of a wide gamut, with 203 nits near white; "" when
    neither.

    Light above white is compressed by `curve`; a wide gamut is clipped.
    """
    if not light.is_wide or curve == "none":
        return ""
    matrix = light.matrix if light.matrix not in ("", "gbr") else "bt2020nc"
    transfer = light.transfer if light.is_hdr else "bt709"
    begin = (
        f"zscale=tin={transfer}:min={matrix}:pin={light.primaries or 'bt2020'}:rin={light.range or 'tv'}"
        f":t=linear:npl={WHITE_NITS}"
    )
    if light.is_hdr:
        peak = min(BRIGHTEST_NITS, max(WHITE_NITS, light.peak_nits or PEAK_NITS)) / WHITE_NITS
        knee = ":param=0.6" if curve == "mobius" else ""
        mapped = f"tonemap={curve}{knee}:peak={peak:.4g},"
    else:
        mapped = ""
    return f"{begin},format=gbrpf32le,zscale=p=bt709,{mapped}zscale=t=bt709,format=gbrp"
