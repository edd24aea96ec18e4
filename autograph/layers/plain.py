"""Plain builders: of layers without parameters, whose fields are the builder's settings."""

from __future__ import annotations

from typing import TypeVar

from .builders import Builder
from .site import Site

L_co = TypeVar("L_co", covariant=True)


class Plain(Builder[L_co]):
    """Base class of builders that hand their settings to the layer of their kind, which
    stands beside them."""

    def build_at(self, site: Site) -> L_co:
        return self.made(**{name: getattr(self, name) for name in self.names()})
