"""Explore clips, networks and interventions live, with a kernel behind the scrubber."""
