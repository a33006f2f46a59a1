"""Say the exact install line when a command needs libraries that are not installed."""

from importlib.util import find_spec

from vedit.errors import ModelError

EXTRAS = {
    "diffusion": ("torch", "diffusers", "transformers", "safetensors", "open_clip"),
    "language": ("num2words",),
    "ray": ("ray",),
}


def need(extra: str) -> None:
    """Raise ModelError unless every library of the extra can be imported; imports none."""
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise ModelError(
            f"this command needs {', '.join(missing)}, not installed here.",
            next_step=f'Install with: pip install "vedit[{extra}]"',
        )
