"""Plain builders: of layers without parameters, whose fields are the builder's settings."""

from __future__ import annotations

import sys
from typing import Any, TypeVar

from .builders import Builder
from .site import Site

L_co = TypeVar("L_co", covariant=True)


class Plain(Builder[L_co]):
    """Base class of builders that hand their settings to the layer of their kind, which
    stands beside them."""

    def build_at(self, site: Site) -> L_co:
        layer: Any = getattr(sys.modules[type(self).__module__], self.kind)
        made: L_co = layer(**{name: getattr(self, name) for name in self.names()})
        return made
