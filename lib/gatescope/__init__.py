"""An atlas of what happens inside convolutional LSTMs: clips, networks, recordings, pictures."""
