"""The view in a browser, by textual-serve: a page of its own that asks nobody but this machine."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from textual_serve.server import Server

PAGE = Path(__file__).with_name("page")


class ViewServer(Server):
    """Serves what a command shows in a terminal; one process of it for each page that is open."""

    def __init__(self, command: str, host: str, port: int) -> None:
        super().__init__(command, host, port, title="autograph", templates_path=PAGE)

    def initialize_logging(self) -> None:
        """Say only what went wrong."""
        logging.basicConfig(level="WARNING", format="view: %(message)s")

    async def on_startup(self, app: Any) -> None:
        """Say where it is."""
        print(f"view: {self.public_url}  Ctrl+C ends it", flush=True)

    async def _make_app(self) -> Any:
        app = await super()._make_app()
        app.middlewares.append(own_pages_alone)
        return app


@web.middleware
async def own_pages_alone(
    request: web.Request, handler: Callable[[web.Request], Awaitable[Any]]
) -> Any:
    """Refuse what a page from elsewhere asks: browsers let any page open a web socket to here."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        raise web.HTTPForbidden(text="this page is from elsewhere")
    return await handler(request)
