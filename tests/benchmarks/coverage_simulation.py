r"""How often an interval covers what it estimates, on data drawn from variance components of kept results.

The value of network s on clip c, by person p, is

(1) $y_{sc} = m + a_s + d_p + b_c + e_{sc}$

with four independent Gaussians. An answer is right, 1, where such a $y$ of variance 1 is above 0; its true mean is then
$\Phi(m)$. In two conditions each Gaussian has two values, with a covariance. That of answers follows from theirs: both
are right with the probability $\Phi_2(m_1, m_2; \rho)$ (2), which is solved for their correlation $\rho$.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

PARTS = ("seed", "person", "clip", "rest")


@dataclass(frozen=True, kw_only=True)
class Components:
    """The Gaussians of (1), in one condition or two."""

    means: np.ndarray  # m, for each condition
    covariances: dict[str, np.ndarray]  # a square matrix over conditions for each of PARTS
    answers: bool  # whether values are right answers, 0 or 1

    def truth(self, among: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the true mean in each condition, over all networks or of one whose $a_s$ is `among`."""
        if not self.answers:
            return self.means + among
        spread = np.sqrt(1 - np.diagonal(self.covariances["seed"])) if np.any(among) else 1.0
        return norm.cdf((self.means + among) / spread)

    def draw(self, rng: np.random.Generator, num_seeds: int, people: np.ndarray, *, apart: bool) -> tuple:
        """Return values (condition, seed, clip), and $a_s$ of the first network; `apart`: other networks for each."""
        shapes = {"seed": (num_seeds, 1), "person": (1, people.max() + 1)}
        shapes |= {"clip": (1, len(people)), "rest": (num_seeds, len(people))}
        drawn = {}
        for part, shape in shapes.items():
            covariance = self.covariances[part]
            if apart and part in ("seed", "rest"):
                covariance = np.diag(np.diagonal(covariance))
            values, vectors = np.linalg.eigh(covariance)
            root = vectors * np.sqrt(values.clip(0))
            drawn[part] = np.tensordot(root, rng.standard_normal((len(root), *shape)), 1)
        drawn["person"] = drawn["person"][:, :, people]
        y = self.means[:, None, None] + sum(drawn.values())  # (1)
        return (y > 0 if self.answers else y), drawn["seed"][:, 0, 0]


def fitted(values: np.ndarray, people: np.ndarray | None = None) -> Components:
    """Return the components of values (condition, seed, clip) by the method of moments; of answers if they are bool.

    Two conditions may be of the same networks or of others: `draw` decides. A negative variance counts as none.
    """
    answers, values = values.dtype == bool, values.astype(float)
    num_seeds, num_clips = values.shape[1:]
    average = values.mean((1, 2))
    other = np.ones((num_clips, num_clips), bool) if people is None else ~np.equal.outer(people, people)
    pairs = {
        "seed": (np.eye(num_seeds, dtype=bool), other & ~np.eye(num_clips, dtype=bool)),
        "person": (~np.eye(num_seeds, dtype=bool), ~other & ~np.eye(num_clips, dtype=bool)),
        "clip": (~np.eye(num_seeds, dtype=bool), np.eye(num_clips, dtype=bool)),
        "rest": (np.eye(num_seeds, dtype=bool), np.eye(num_clips, dtype=bool)),
    }
    if answers:
        average = average.clip(0.005, 0.995)
        means = norm.ppf(average)
    else:
        means = average
    found = {}
    for part, (seeds, clips) in pairs.items():
        if not clips.any():  # everyone appears once
            found[part] = np.zeros((len(values), len(values)))
            continue
        together = np.einsum("isc,st,cd,jtd->ij", values, seeds, clips, values, optimize=True)
        together /= seeds.sum() * clips.sum()
        found[part] = _correlations(means, together) if answers else together - np.outer(average, average)
    np.fill_diagonal(found["rest"], 1.0 if answers else np.diagonal(found["rest"]))
    found["clip"] = _positive(found["clip"] - found["person"])
    found["seed"], found["person"] = _positive(found["seed"]), _positive(found["person"])
    found["rest"] = _positive(found["rest"] - found["seed"] - found["person"] - found["clip"])
    if answers:
        scale = np.sqrt(np.diagonal(sum(found.values())))
        found = {part: each / np.outer(scale, scale) for part, each in found.items()}
    return Components(means=means, covariances=found, answers=answers)


def _correlations(means: np.ndarray, together: np.ndarray) -> np.ndarray:
    """Return the correlation of each two Gaussians that are above zero together so often: (2)."""
    found = np.zeros_like(together)
    for i, j in np.ndindex(*found.shape):

        def missing(rho: float, pair=means[[i, j]], wanted=together[i, j]) -> float:
            return multivariate_normal.cdf(pair, cov=[[1, rho], [rho, 1]]) - wanted

        least, most = missing(-0.99), missing(0.99)
        found[i, j] = brentq(missing, -0.99, 0.99, xtol=1e-4) if least < 0 < most else np.sign(-most) * 0.99
    return (found + found.T) / 2


def _positive(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * values.clip(0)) @ vectors.T


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Parts of the intervals that hold the true value, and that lie below and above it."""

    covered: float
    below: float
    above: float


def coverage(
    interval: Callable, components: Components, kind: str, num_seeds: int, people: np.ndarray, num_draws: int
) -> Coverage:
    """Return how often `interval(values, people)` covers the truth, over `num_draws` data sets.

    `kind` says what is estimated. `mean`: of all networks, from values (seed, clip). `one`: the same of the one network
    drawn. `same`: the second condition minus the first in the same networks, from (condition, seed, clip); `groups`:
    likewise in networks of their own.
    """
    rng = np.random.default_rng(0)
    ends, truths = np.empty((num_draws, 2)), np.empty(num_draws)
    for number in range(num_draws):
        values, own = components.draw(rng, num_seeds, people, apart=kind == "groups")
        truth = components.truth(own if kind == "one" else 0.0)
        truths[number] = truth[0] if kind in ("mean", "one") else truth[1] - truth[0]
        _, *ends[number] = interval(values[0] if kind in ("mean", "one") else values, people)
    above, below = float((truths < ends[:, 0]).mean()), float((truths > ends[:, 1]).mean())
    return Coverage(covered=1 - below - above, below=below, above=above)
