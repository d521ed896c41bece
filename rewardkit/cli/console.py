"""A rich console that shows control characters instead of sending them to the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from rewardkit.cli.terminal import shown


@final
class SafeConsole(Console):
    """See `rewardkit.cli.tables.console`."""

    def render_str(self, text: str, **settings: Any) -> Text:
        """As rich's; escaped first, so that columns are as wide as what is shown."""
        return super().render_str(shown(text), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As rich's; texts that were no `str` are escaped here. Rich's own codes are apart."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=shown(segment.text))
