"""An atlas of what happens inside convolutional LSTMs: clips, networks, recordings, pictures."""

import os

# pydantic adds to every error an address that is of no use offline; it reads this once, before its first error.
os.environ.setdefault("PYDANTIC_ERRORS_INCLUDE_URL", "0")
