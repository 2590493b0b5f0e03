"""Hands in recordings: where they are, found by two published networks that a reader may fetch."""

from gatescope.loaders.hands.measured import MeasuredHands
from gatescope.loaders.hands.measuring import with_hands
from gatescope.loaders.hands.networks import HandNetworksError, fetch_networks, has_networks

__all__ = ["HandNetworksError", "MeasuredHands", "fetch_networks", "has_networks", "with_hands"]
