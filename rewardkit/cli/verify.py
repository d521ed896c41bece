"""`rewardkit verify`: published scores, computed again on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rewardkit.cli.options import device_option
from rewardkit.cli.terminal import echo

if TYPE_CHECKING:
    from rewardkit.engine.verify import Check, Verification


@click.command()
@click.argument("name", required=False)
@device_option
@click.option(
    "--weights",
    multiple=True,
    metavar="NAME=PATH",
    help="Local file or folder to use instead of the Hub's; `rewardkit show` lists the names.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, in full precision.")
def verify(name: str | None, device: str, weights: tuple[str, ...], as_json: bool) -> None:
    """Recompute the published reference scores of reward NAME, or of all rewards.

    Images come from the folder REWARDKIT_TEST_DATA or are downloaded. The exit code is 1 if a score
    exceeds its tolerance or cannot be computed.
    """
    from rewardkit.engine.registry import entry, list_rewards
    from rewardkit.engine.verify import verify as compute
    from rewardkit.weights.hub import parse_overrides

    cards = list_rewards() if name is None else [entry(name).card]
    folder = os.environ.get("REWARDKIT_TEST_DATA")
    found = compute(
        [card for card in cards if card.published],
        device=device,
        weights=parse_overrides(weights),
        test_data=Path(folder) if folder else None,
    )
    if as_json:
        echo(json.dumps(_document(found), indent=2, allow_nan=False))
    elif found.checks:
        _print(found)
    if not found.checks:
        echo(f"{name or 'no reward'} has no published values to compare with", err=True)
    for failure in dict.fromkeys(f"{c.reward}: {c.error}" for c in found.checks if c.error):
        echo(f"Error: {failure}", err=True)
    if found.failed:
        echo(
            f"Error: {len(found.failed)} of {len(found.checks)} published values were not met",
            err=True,
        )
        click.get_current_context().exit(1)


def _document(found: Verification) -> dict[str, Any]:
    from rewardkit.records.provenance import versions

    return {
        "checks": [_row(check) for check in found.checks],
        "device": found.device,
        "weights": {name: file.model_dump(mode="json") for name, file in found.weights.items()},
        "versions": versions(),
    }


def _row(check: Check) -> dict[str, Any]:
    published = check.published
    return {
        "reward": check.reward,
        "picture": published.picture,
        "sha256": published.sha256,
        "prompt": published.prompt,
        "published": published.value,
        "ours": check.ours,
        "delta": check.delta,
        "tolerance": published.tolerance,
        "verdict": check.verdict,
        "error": check.error,
        "source": published.source,
    }


def _print(found: Verification) -> None:
    from rich.table import Table

    from rewardkit.cli.tables import console
    from rewardkit.records.provenance import versions

    table = Table(box=None, pad_edge=False)
    table.add_column("reward", no_wrap=True)
    table.add_column("picture", overflow="fold")
    table.add_column("prompt", overflow="fold")
    for column in ("published", "ours", "delta", "tolerance"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for check in found.checks:
        published = check.published
        table.add_row(
            check.reward,
            published.picture,
            published.prompt or "-",
            f"{published.value:.6g}",
            "-" if check.ours is None else f"{check.ours:.6g}",
            "-" if check.delta is None else f"{check.delta:+.2g}",
            f"{published.tolerance:g}",
            check.verdict,
        )
    stdout = console()
    stdout.print(table, markup=False)
    used = ", ".join(f"{name} {version}" for name, version in versions().items())
    stdout.print(f"\non {found.device} with {used}", markup=False)
