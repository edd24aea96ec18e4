"""Gradients of large weights that wait for the optimizer: a plain step adds them to the weight in
the product that would have written them down."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from .. import ops
from ..backends.backend import lookups
from ..backends.precision import current_precision, precision
from ..graph import Version
from ..later import Later
from ..outline import Outline
from .deferred import Deferred, Pending, fill, waited_for
from .prepared import Prepared
from .tensor import Tensor, _make


class Slope(Deferred):
    """dw = x^T dy, of the two that a walk has left."""

    recorded = False

    def __init__(self, later: Later) -> None:
        super().__init__([], [], [])
        self.later, self.precision = later, current_precision()
        self.read = [version for name, version, _ in later.kept if name == "x"]

    def depends_on(self, written: Collection[Version | None]) -> bool:
        return any(version in written for version in self.read)

    def compute(self) -> None:
        slope = self.pending[0]()
        if type(slope) is Pending:
            with self.as_then(), precision(self.precision):
                fill(slope, _make(self.later.now()))


def waiting(later: Later) -> Tensor:
    """The pending gradient."""
    x = Outline.of(later.x)
    return Slope(later).pend(x.like(shape=(later.x.shape[1], later.dy.shape[1])))[0]


def move(
    prepared: Prepared, rate: Tensor, ws: Sequence[Tensor], slopes: Sequence[Tensor]
) -> list[int]:
    """Move the parameters whose gradients wait, where the step is a plain one; the places of the
    others."""
    settings, others = prepared.settings, []
    plain = prepared.op is ops.sgd_updates and not (
        settings["momentum"] or settings["weight_decay"]
    )
    for at, (w, slope, state) in enumerate(zip(ws, slopes, prepared.states, strict=True)):
        waits, (step, *_, master) = waited_for(slope), state
        fits = plain and master is None and w.outline is slope.outline
        if not (fits and type(waits) is Slope and waits.limit == lookups.limit):
            others.append(at)
            continue
        later = waits.later
        with precision(waits.precision):
            ops.sgd_product_update(
                w, _make(later.x), _make(later.dy), step, rate, maximize=settings["maximize"]
            )
    return others
