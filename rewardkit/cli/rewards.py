"""`rewardkit list` and `rewardkit show`: the cards of the registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from rewardkit.engine.card import EncoderSpec, RewardCard
    from rewardkit.weights.pins import PinnedFile, Snapshot


@click.command("list")
@click.option(
    "--input",
    "kind",
    type=click.Choice(["image", "video"]),
    help="List only rewards that take this kind of input.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the cards as JSON.")
def list_command(kind: str | None, as_json: bool) -> None:
    """List the available rewards."""
    from rewardkit.engine.registry import list_rewards

    cards = list_rewards(kind)
    if as_json:
        echo(json.dumps([card.model_dump(mode="json") for card in cards], indent=2))
        return
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, pad_edge=False)
    for column in ("name", "input", "prompt", "unit", "range"):
        table.add_column(column, no_wrap=True)
    table.add_column("a higher score means")
    for card in cards:
        prompt = "needed" if card.needs_prompt else "-"
        table.add_row(
            card.name, "/".join(card.inputs), prompt, card.unit, _range(card.range), card.summary
        )
    console().print(table)


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the card as JSON.")
def show(name: str, as_json: bool) -> None:
    """Show the card of reward NAME: inputs, outputs, weights, licence and source."""
    from rewardkit.engine.preprocess import describe_steps
    from rewardkit.engine.registry import entry
    from rewardkit.weights.hub import recorded

    found = entry(name)
    card = found.card
    downloads = {weights.name: recorded(weights) for weights in card.all_weights}
    if as_json:
        shown = {**card.model_dump(mode="json"), "recorded": downloads, "origin": found.origin}
        echo(json.dumps(shown, indent=2))
        return

    rows = [
        ("name", card.name),
        ("a higher score means", card.summary),
        ("input", " or ".join(card.inputs)),
        ("prompt", _prompt(card)),
        ("keys of the prompt line", ", ".join(card.needs_meta)),
        ("reference media", ", ".join(card.needs_references)),
        ("endpoint", "needed" if card.needs_endpoint else ""),
        ("compared with", "\n".join(card.texts)),
        ("unit", card.unit),
        ("range", _range(card.range)),
        ("typical", _range(card.typical) if card.typical else ""),
    ]
    steps = card.encoder.preprocess if card.encoder else card.preprocess
    rows += [
        ("architecture", _architecture(card.encoder)),
        ("preprocessing", "\n".join(describe_steps(steps))),
        ("frames per second", "" if card.fps is None else f"{card.fps:g}"),
        ("largest batch", "" if card.batch_size is None else str(card.batch_size)),
        ("gradient to the pixels", "yes" if card.differentiable else ""),
    ]
    for weights in card.all_weights:
        rows += [
            ("weights", f"{weights.name}: {weights.place} ({weights.contents})"),
            ("", f"licence {weights.licence}"),
            ("", _pin(weights, downloads[weights.name])),
        ]
    rows += [
        ("trained on", ", ".join(card.trained_on)),
        ("licence of the code", card.licence_code),
        ("paper", card.paper or ""),
        ("upstream", card.upstream or ""),
        ("notes", "\n".join(card.notes)),
        ("registered by", found.origin),
    ]
    from rich.table import Table

    from rewardkit.cli.tables import console

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for key, value in rows:
        if value:
            table.add_row(key, value)
    console().print(table, markup=False)


def _prompt(card: RewardCard) -> str:
    if not card.needs_prompt:
        return "not used"
    return "needed" + (f", or the key {card.prompt_key} of its line" if card.prompt_key else "")


def _architecture(encoder: EncoderSpec | None) -> str:
    if encoder is None:
        return ""
    return encoder.architecture or "as config.json beside the weights says"


def _pin(weights: PinnedFile | Snapshot, download: dict[str, Any] | None) -> str:
    if weights.host == "folder":
        return "a folder on this machine: nothing is downloaded"
    if weights.host == "package":
        return "comes with the package: nothing is downloaded"
    if weights.host == "torch":
        return f"pinned: its sha256 begins with {weights.digits}"
    if weights.host == "made":
        return f"made on this machine: {weights.made_by}"
    if weights.sha256 is not None:
        return f"pinned: revision {weights.revision}, sha256 {weights.sha256}"
    if download is not None:
        files = download.get("files") or {download["file"]: download["sha256"]}
        checksums = "".join(f"\n{name}, sha256 {files[name]}" for name in sorted(files))
        return f"as first downloaded here: revision {download['revision']}{checksums}"
    return "not downloaded here yet: the first download records revision and sha256"


def _range(bounds: tuple[float | None, float | None]) -> str:
    low, high = ("unbounded" if bound is None else f"{bound:g}" for bound in bounds)
    return "unbounded" if low == high == "unbounded" else f"{low} .. {high}"
