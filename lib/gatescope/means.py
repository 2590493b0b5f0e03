"""What the authors subtract from 8-bit frames, which the loaders do and a loaded network has to ask for."""

# Grey levels per channel, by data set and modality.
MEANS: dict[tuple[str, str], tuple[float, float, float]] = {
    ("jester", "rgb"): (114.0, 109.0, 104.0),
    ("jester", "flow"): (128.0, 128.0, 128.0),
    ("isogd", "rgb"): (112.0, 112.0, 112.0),
    ("isogd", "depth"): (127.0, 127.0, 127.0),
    ("isogd", "flow"): (128.0, 128.0, 128.0),
}
