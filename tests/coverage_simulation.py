"""How often intervals cover what they estimate, on data drawn from variance components of the kept predictions.

An answer of network s to clip c, by person p, is right where a Gaussian falls below a threshold:

(1) $y_{sc} = [\\, a_s + d_p + b_c + e_{sc} < \\Phi^{-1}(m) \\,]$, all four independent, their variances 1 together

so that $m$ is the true mean over networks, people and clips. Two conditions are two such answers, each component
correlated between them. A covariance of answers fixes that of their Gaussians: the probability that both are right is
$\\Phi_2$ of the two thresholds and their correlation (2), which is solved for the correlation.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_normal, norm

PARTS = ("seed", "person", "clip", "rest")


@dataclass(frozen=True, kw_only=True)
class Components:
    """Gaussians behind the answers in one or two conditions: their thresholds, and covariances by PARTS."""

    thresholds: np.ndarray  # one for each condition
    covariances: dict[str, np.ndarray]  # a square matrix over conditions for each of PARTS

    @property
    def means(self) -> np.ndarray:
        """The true accuracy in each condition."""
        return norm.cdf(self.thresholds)

    def draw(self, rng, num_seeds: int, people: np.ndarray, *, apart: bool = False):
        """Draw answers (conditions, seeds, clips), and each network's own true accuracy (conditions, seeds).

        With `apart`, each condition has networks of its own.
        """
        num = len(self.thresholds)
        shapes = {"seed": (num_seeds, 1), "person": (1, people.max() + 1), "clip": (1, len(people))}
        shapes["rest"] = (num_seeds, len(people))
        drawn = {}
        for part, shape in shapes.items():
            covariance = self.covariances[part]
            if apart and part in ("seed", "rest"):
                covariance = np.diag(np.diag(covariance))
            root = np.linalg.cholesky(covariance + 1e-12 * np.eye(num))
            drawn[part] = np.tensordot(root, rng.standard_normal((num, *shape)), 1)
        drawn["person"] = drawn["person"][:, :, people]
        thresholds = self.thresholds[:, None, None]
        spread = np.sqrt(1 - np.diagonal(self.covariances["seed"]))[:, None]
        own = norm.cdf((thresholds - drawn["seed"])[:, :, 0] / spread)
        return sum(drawn.values()) < thresholds, own


def fitted(right: np.ndarray, people: np.ndarray | None = None) -> Components:
    """Return the components of answers (conditions, seeds, clips): method of moments, negative variances set to 0."""
    right = right.astype(float)
    num, num_seeds, num_clips = right.shape
    means = right.mean((1, 2)).clip(0.01, 0.99)
    together = {
        "seed": _pairs(right, same_seed=True, same_clip=False, people=people),
        "clip": _pairs(right, same_seed=False, same_clip=True, people=people),
    }
    together["rest"] = np.einsum("isc,jsc->ij", right, right) / (num_seeds * num_clips)
    if people is not None:
        together["person"] = _pairs(right, same_seed=False, same_clip=False, people=people, same_person=True)
    thresholds = norm.ppf(means)
    total = {part: _correlations(thresholds, both) for part, both in together.items()}
    person = total.get("person", np.zeros((num, num)))
    found = {"seed": _positive(total["seed"]), "person": _positive(person), "clip": _positive(total["clip"] - person)}
    whole = total["rest"]
    np.fill_diagonal(whole, 1)
    found["rest"] = _positive(whole - sum(found.values()))
    scale = np.sqrt(np.diagonal(sum(found.values())))  # where a negative variance was set to 0
    return Components(
        thresholds=thresholds, covariances={part: found[part] / np.outer(scale, scale) for part in PARTS}
    )


def _pairs(right, *, same_seed: bool, same_clip: bool, people, same_person: bool = False) -> np.ndarray:
    """Return the mean product of answers of pairs that share a seed, a clip or a person and nothing else."""
    num, num_seeds, num_clips = right.shape
    people = np.arange(num_clips) if people is None else people
    which = np.equal.outer(people, people)
    which = np.eye(num_clips, dtype=bool) if same_clip else which & ~np.eye(num_clips, dtype=bool) if same_person else ~which
    seeds = np.eye(num_seeds, dtype=bool) if same_seed else ~np.eye(num_seeds, dtype=bool)
    products = np.einsum("isc,st,cd,jtd->ij", right, seeds, which, right, optimize=True)
    return products / (seeds.sum() * which.sum())


def _correlations(thresholds, together) -> np.ndarray:
    """Return the correlations of Gaussians that are below their thresholds together so often: (2)."""
    num = len(thresholds)
    found = np.zeros((num, num))
    for i in range(num):
        for j in range(num):
            pair = thresholds[[i, j]]

            def missing(rho, pair=pair, wanted=together[i, j]):
                return multivariate_normal.cdf(pair, cov=[[1, rho], [rho, 1]]) - wanted

            ends = missing(-0.99), missing(0.99)
            found[i, j] = brentq(missing, -0.99, 0.99, xtol=1e-4) if ends[0] < 0 < ends[1] else 0.99 * (ends[1] <= 0)
    return (found + found.T) / 2


def _positive(covariance) -> np.ndarray:
    """Return the nearest covariance: eigenvalues below 0 set to 0."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * values.clip(0)) @ vectors.T


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Part of the intervals that hold the true value, and parts in which it lies below and above."""

    covered: float
    below: float
    above: float


def coverage(interval, components: Components, kind: str, num_seeds: int, people, *, num_draws: int, seed: int = 0):
    """Return the `Coverage` of `interval(answers, people)` over data drawn anew `num_draws` times.

    `kind` says what is estimated, and so its true value and the answers: `mean` of the networks drawn, (seeds, clips);
    `same`, the second condition minus the first in the same networks; `groups`, likewise in networks of their own; for
    these two (conditions, seeds, clips); `one`, the accuracy of the one network drawn.
    """
    rng = np.random.default_rng(seed)
    ends, truths = np.empty((num_draws, 2)), np.empty(num_draws)
    for number in range(num_draws):
        right, own = components.draw(rng, num_seeds, people, apart=kind == "groups")
        means = components.means
        truths[number] = own[0, 0] if kind == "one" else means[0] if kind == "mean" else means[1] - means[0]
        given = right if kind in ("same", "groups") else right[0]
        _, *ends[number] = interval(given, people)
    below, above = float((truths < ends[:, 0]).mean()), float((truths > ends[:, 1]).mean())
    return Coverage(covered=1 - below - above, below=below, above=above)
