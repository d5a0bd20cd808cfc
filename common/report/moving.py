"""Animations inside a page, as many as it can carry."""

from __future__ import annotations

from html import escape
from pathlib import Path
from urllib.parse import quote

from .html import embedded_picture

ROOM = 24_000_000
"""Bytes of animations in one page."""


class Animations:
    """Puts animations into a page until it is full; those for which there is no room are linked.

    Attributes:
        room: bytes that are left.
    """

    def __init__(self) -> None:
        self.room = ROOM

    def shown(self, file: Path | None, alternative: str, title: str = "Animation") -> str:
        """HTML of an animation, "" for None.

        Args:
            file: a GIF in the folder of the page.
            alternative: what it shows, for those who cannot see it.
            title: text of the link, where there is no room for the animation.
        """
        if file is None:
            return ""
        size = file.stat().st_size
        if size > self.room:
            return f'<p class="note"><a href="{escape(quote(file.name))}">{escape(title)}</a></p>'
        self.room -= size
        return embedded_picture(file.read_bytes(), alternative, file.name, "image/gif")
