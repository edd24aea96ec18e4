"""The view as a Textual app: tabs over one scene, and keys that ask something of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol

from rich.console import RenderableType
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.widgets import Footer, Header, Static, TabbedContent, TabPane

from ..control import Control
from . import parts
from .scene import Scene

PERIOD = 0.2  # seconds between two frames
TABS = ("curves", "confusion", "pictures", "regions", "layers")
OF_FOLDERS = ("runs", *TABS)


class Source(Protocol):
    """Where scenes come from: a training in this process, or the folder of one."""

    control: Control

    def update(self) -> Scene: ...


class ViewApp(App[None]):
    """A view of a run."""

    TITLE = "autograph"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    #gauge { height: 3; padding: 0 1; border-bottom: solid $panel; }
    .part { padding: 0 1; width: auto; height: auto; }
    #note { height: 1; padding: 0 1; color: $text-muted; }
    TabbedContent { height: 1fr; }
    TabPane { padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause"),
        Binding("s", "save", "Save now"),
        Binding("plus,equals_sign", "rate(2.0)", "Rate x2", key_display="+"),
        Binding("minus", "rate(0.5)", "Rate /2", key_display="-"),
        Binding("x", "stop", "End the run"),
        Binding("q", "quit", "Quit"),
        *[Binding(str(i), f"tab({i - 1})", show=False) for i in range(1, len(OF_FOLDERS) + 1)],
        Binding("down,j", "choose(1)", "Next run", key_display="↓"),
        Binding("up,k", "choose(-1)", "Run before", show=False),
        Binding("right,l", "turn(1)", "Next tab", key_display="→"),
        Binding("left,h", "turn(-1)", "Tab before", show=False),
    ]

    def __init__(self, source: Source, *, ends_run: bool = False, tab: str = "curves") -> None:
        super().__init__()
        self.source, self.ends_run, self.tab = source, ends_run, tab
        self.scene = source.update()
        self.tabs = OF_FOLDERS if self.scene.runs else TABS

    def compose(self) -> ComposeResult:
        yield Header(icon=" ")
        yield Static(id="gauge")
        with TabbedContent(initial=self.tab):
            for name in self.tabs:
                with TabPane(name.title(), id=name), VerticalScroll():
                    yield Static(id=f"part-{name}", classes="part")
        yield Static(id="note")
        yield Footer()

    def on_mount(self) -> None:
        self.set_interval(PERIOD, self.refresh_scene)
        self.call_after_refresh(self.refresh_scene)

    def refresh_scene(self) -> None:
        """Look at the run again, and draw what is seen."""
        if not self.query("#note"):
            return  # a tab tells of itself before all is there, and after it has gone
        self.scene = scene = self.source.update()
        width, height = self.size.width - 4, max(self.size.height - 10, 6)
        draw: dict[str, Callable[[], RenderableType]] = {
            "curves": lambda: parts.curves(scene, width, height),
            "confusion": lambda: parts.confusion(scene),
            "pictures": lambda: parts.pictures(scene, width, height),
            "regions": lambda: parts.regions(scene, width),
            "layers": lambda: parts.layers(scene),
            "runs": lambda: parts.runs(scene, width, height),
        }
        self.sub_title = scene.name
        active = self.query_one(TabbedContent).active
        self.query_one("#gauge", Static).update(parts.gauge(scene, width))
        self.query_one(f"#part-{active}", Static).update(draw[active]())
        self.query_one("#note", Static).update(scene.note)

    # -- keys --------------------------------------------------------------------------

    def action_pause(self) -> None:
        self.source.control.ask(paused=not self.source.control.paused)

    def action_save(self) -> None:
        """Have a checkpoint written now."""
        self.source.control.ask(saves=self.source.control.saves + 1)
        self.notify("a checkpoint is asked for")

    def action_rate(self, factor: float) -> None:
        now = self.source.control.learning_rate or self.scene.learning_rate
        if now:
            self.source.control.ask(learning_rate=now * factor)
            self.notify(f"learning rate {now * factor:.4g}")

    def action_stop(self) -> None:
        """Have the run end after this batch."""
        self.source.control.ask(stopped=True, paused=False)
        self.notify("the run is asked to end")

    def action_tab(self, place: int) -> None:
        if place < len(self.tabs):
            self.query_one(TabbedContent).active = self.tabs[place]
            self.refresh_scene()

    def action_turn(self, by: int) -> None:
        place = self.tabs.index(self.query_one(TabbedContent).active)
        self.action_tab((place + by) % len(self.tabs))

    def action_choose(self, by: int) -> None:
        self.source.choose(by)  # type: ignore[attr-defined]
        self.refresh_scene()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Runs are chosen where there are several."""
        return action != "choose" or hasattr(self.source, "choose")

    async def action_quit(self) -> None:
        """Leave; a run of this process ends first."""
        if self.ends_run:
            self.source.control.ask(stopped=True, paused=False)
        self.exit()

    def on_tabbed_content_tab_activated(self, _: Any) -> None:
        """Draw what a click has shown."""
        self.refresh_scene()
