"""`vedit models fetch`: download a model."""

from __future__ import annotations

import click

from vedit.cli.common import examples

EXAMPLES = (("vedit models fetch stable-diffusion-v1-5/stable-diffusion-v1-5", "into the Hub cache; a broken download continues"),)


@click.command(
    help=f"""Download what vedit needs of a Hub model into the cache, for use without network.

Only the files of the parts are taken: network, autoencoder, text encoder, tokenizer, scheduler.
A token for gated models is read from HF_TOKEN.

{examples(EXAMPLES)}"""
)
@click.argument("name", metavar="OWNER/NAME")
@click.option("--revision", metavar="REV", help="Branch, tag or commit.")
def command(name: str, revision: str | None) -> None:
    from vedit.app.models import fetch_model

    click.echo(fetch_model(name, revision))
