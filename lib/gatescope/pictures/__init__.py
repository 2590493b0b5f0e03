"""From numbers to what a reader sees."""
