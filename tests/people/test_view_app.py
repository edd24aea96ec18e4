"""The live view in the terminal and in a browser: its keys, tabs and pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from autograph.control import Control
from autograph.view import source_of
from autograph.view.scene import Scene

from .test_view import LONG, live, run_of, scene


class Still:
    """A source whose scene does not change."""

    def __init__(self) -> None:
        self.control, self.scene = Control(), scene()

    def update(self) -> Scene:
        return self.scene


def pilot(source: Any, steps: Callable[[Any, Any], Awaitable[None]], **settings: Any) -> None:
    """Run steps in the app over a source, without a terminal."""
    pytest.importorskip("textual", reason="the extra view is not installed")
    from autograph.view.app import ViewApp

    async def run() -> None:
        app = ViewApp(source, **settings)
        async with app.run_test(size=(100, 36)) as keys:
            await steps(app, keys)

    asyncio.run(run())


async def comes(keys: Any, done: Callable[[], bool]) -> None:
    """Wait for what the app does when it gets to it."""
    end = time.monotonic() + LONG
    while not done():
        assert time.monotonic() < end
        await keys.pause(0.02)


async def drawn(app: Any, keys: Any, *words: str) -> None:
    """Wait for words on the screen."""
    await comes(keys, lambda: all(map(app.export_screenshot().__contains__, words)))


def test_keys_ask_something_of_the_run() -> None:
    source = Still()

    async def steps(app: Any, keys: Any) -> None:
        control = source.control
        await keys.press("space")
        await comes(keys, lambda: control.paused)
        await keys.press("space", "s", "+")
        await comes(keys, lambda: control.learning_rate == 0.1)
        assert (False, 1) == (control.paused, control.saves)
        await keys.press("-", "-")
        await comes(keys, lambda: control.learning_rate == 0.025)
        await keys.press("x")
        await comes(keys, lambda: control.stopped)

    pilot(source, steps)


def test_tabs_show_the_parts() -> None:
    parts = {
        "curves": "accuracy", "confusion": "recall", "pictures": "dog,", "regions": "●",
        "layers": "frozen",
    }  # fmt: skip

    async def steps(app: Any, keys: Any) -> None:
        tabs = app.query_one("TabbedContent")
        for name, word in parts.items():
            await comes(keys, lambda name=name: name == tabs.active)
            await drawn(app, keys, word, "12,346")
            await keys.press("right")
        await comes(keys, lambda: tabs.active == "curves")
        await keys.press("4")
        await comes(keys, lambda: tabs.active == "regions")

    pilot(Still(), steps)


def test_a_folder_of_runs_has_a_tab_for_them(tmp_path: Path) -> None:
    run_of(tmp_path, "first", [1.0, 0.5])
    run_of(tmp_path, "second", [1.0, 0.25])
    names = ["first", "second"]

    async def steps(app: Any, keys: Any) -> None:
        tabs = app.query_one("TabbedContent")
        await comes(keys, lambda: tabs.active == "runs")
        for _ in range(2):
            await comes(keys, lambda: app.sub_title in names)
            names.remove(app.sub_title)
            await drawn(app, keys, "first", "second", "best")
            await keys.press("down")
        await keys.press("2")
        await comes(keys, lambda: tabs.active == "curves")

    pilot(source_of(tmp_path, background=True), steps, tab="runs")


def test_the_view_is_served_to_pages_of_its_own_alone(tmp_path: Path) -> None:
    web = pytest.importorskip("autograph.view.web", reason="the extra view is not installed")
    from aiohttp.test_utils import TestClient, TestServer

    async def answers() -> list[int]:
        server = web.ViewServer("true", "127.0.0.1", 8000)
        server.on_startup = lambda app: asyncio.sleep(0)
        async with TestClient(TestServer(await server._make_app())) as client:
            page = await client.get("/")
            assert "http" not in (await page.text()).replace(server.public_url, "")
            elsewhere = await client.get("/", headers={"Origin": "http://elsewhere.example"})
            here = await client.get("/", headers={"Origin": str(client.make_url("")).rstrip("/")})
            return [page.status, elsewhere.status, here.status]

    assert [200, 403, 200] == asyncio.run(answers())


def test_a_training_is_watched_and_ended_by_leaving() -> None:
    source = live(epochs=1_000_000)

    async def steps(app: Any, keys: Any) -> None:
        source.start()
        await comes(keys, lambda: source.scene.epoch >= 3)
        await keys.press("q")

    pilot(source, steps, ends_run=True)
    source.join(LONG)

    assert source.error is None
    assert 3 <= source.scene.epoch < 1_000_000
    assert "ended" == source.scene.state
