"""Measures of recordings: numbers with their intervals."""

from gatescope.measures.estimates import differences, estimate
from gatescope.measures.sample import Sample, open_sample

__all__ = ["Sample", "differences", "estimate", "open_sample"]
