"""From recordings to numbers with their intervals."""
