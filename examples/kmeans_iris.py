"""K-means on Iris: learning without gradients: python -m examples.kmeans_iris.

Lloyd's algorithm from first centres by k-means++ (Arthur and Vassilvitskii, 2007): each flower
goes to the nearest centre, each centre to the mean of its flowers, until none moves.
"""

from __future__ import annotations

import numpy as np

from autograph import Tensor, ops
from autograph.data import iris
from autograph.data.named import SPECIES
from autograph.philox import stream, uniforms


def distances(x: Tensor, centres: Tensor) -> Tensor:
    """Squared distances (N, K) of points (N, D) to centres (K, D)."""
    return (x.expand_dims(1) - centres.expand_dims(0)).square().sum(axis=2)


def first_centres(x: Tensor, count: int, seed: int) -> Tensor:
    """Points far from each other: each chosen with a chance like its squared distance."""
    chances = uniforms(stream(seed, "kmeans"), count)
    chosen = [int(chances[0] * len(x))]
    for chance in chances[1:]:
        nearest = distances(x, ops.take(x, Tensor(np.array(chosen)))).min(axis=1)
        reached = nearest.cumsum(axis=0).numpy()
        chosen.append(int(np.searchsorted(reached, chance * reached[-1])))
    centres: Tensor = ops.take(x, Tensor(np.array(chosen)))
    return centres


def kmeans(x: Tensor, count: int, seed: int = 0, steps: int = 100) -> tuple[Tensor, Tensor, float]:
    """Centres (K, D), the cluster of each point (N,), and the sum of squared distances."""
    centres = first_centres(x, count, seed)
    for _ in range(steps):
        near = distances(x, centres)
        members = ops.one_hot(near.argmin(axis=1), classes=count, scalar_type=x.scalar_type)
        sizes = members.sum(axis=0).expand_dims(1)
        moved = ops.where(sizes > 0, members.T @ x / sizes.maximum(1.0), centres)
        if (moved == centres).all():
            break
        centres = moved
    near = distances(x, centres)
    return centres, near.argmin(axis=1), near.min(axis=1).sum().item()


def main() -> float:
    """Cluster, print which species are where, and answer the sum of squared distances."""
    data = iris()
    x = Tensor(data.inputs, scalar_type="f64")
    _, clusters, spread = min((kmeans(x, 3, seed) for seed in range(5)), key=lambda each: each[2])
    print(f"sum of squared distances {spread:.4f}")
    for cluster in range(3):
        counts = np.bincount(data.targets[clusters.numpy() == cluster], minlength=3)
        told = ", ".join(f"{n} {name}" for n, name in zip(counts, SPECIES, strict=True) if n)
        print(f"cluster {cluster}: {told}")
    return float(spread)


if __name__ == "__main__":
    main()
