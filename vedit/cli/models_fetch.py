"""`vedit models fetch`: download a model."""

from __future__ import annotations

import click

from vedit.cli.common import Voice, echo, examples

EXAMPLES = (
    (
        "vedit models fetch stable-diffusion-v1-5/stable-diffusion-v1-5",
        "into the Hub cache; called again, it takes what is still missing",
    ),
    ("vedit models fetch Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "a text-to-video pipeline for vedit generate"),
    (
        "vedit models fetch stable-diffusion-v1-5/stable-diffusion-v1-5 --force",
        "again, when files in the cache are damaged",
    ),
)


@click.command(
    help=f"""Download what vedit needs of a Hub model into the cache, for use without network.

Only what vedit reads is taken: network, autoencoder, text encoder, tokenizer and scheduler, and
of weights that a repository holds in several formats only one: safetensors before pickle, full
before half precision. A connection that breaks is taken up where it broke. A token for gated and
private models is read from HF_TOKEN. Of a text-to-video pipeline, for vedit generate, all parts
that its class names are taken.

{examples(EXAMPLES)}"""
)
@click.argument("name", metavar="OWNER/NAME")
@click.option("--revision", metavar="REV", help="Branch, tag or commit.")
@click.option("--force", is_flag=True, help="Download again what is in the cache.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def command(name: str, revision: str | None, force: bool, quiet: bool) -> None:
    from vedit.jobs.models import fetch_model
    from vedit.models.hub import hide_downloads

    if not Voice(quiet).shows_bar:
        hide_downloads()
    echo(fetch_model(name, revision, force=force))
