"""Runs: what a training keeps, in its folder and in memory, so that it can always go on."""

from .folder import Folder, Run
from .guard import Guard, NanPolicy
from .keeper import Keeper, Rewound
from .progress import Progress

__all__ = ["Folder", "Guard", "Keeper", "NanPolicy", "Progress", "Rewound", "Run"]
