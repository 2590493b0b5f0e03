"""Changes of a clip that leave everything else as it was, and the regions that its pixels show."""

from dataclasses import dataclass

KINDS = ("none", "view shifted", "hand shifted", "frozen", "removed", "distractor")
# What a pixel of a counterfactual clip shows, as its `regions` number it.
REGIONS = ("wall", "hand", "arm", "trunk", "head", "passer-by", "distractor")


@dataclass(frozen=True)
class Change:
    """One change of a clip.

    `none`: the clip of `render_gesture`, to the byte. `view shifted`: the lens moves the whole picture; the wall goes
    on mirrored beyond its edge. `hand shifted`: the wrist is seen elsewhere at every time, as far as the arm reaches;
    trunk and head move as before. `frozen`: the hand stays where the middle frame shows it, while trunk and head move
    as before. `removed`: the arm hangs down. `distractor`: the hand is frozen and an ellipsoid of its size, in the
    skin's colour with red and blue exchanged, makes its movement instead, without an arm and without fingers.

    Raises ValueError for another kind, and for a shift of what is not shifted.
    """

    kind: str  # one of `KINDS`
    shift_px: tuple[int, int] = (0, 0)  # right and down, of what is shifted or of the distractor's path

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"the kind of a change must be one of {', '.join(KINDS)}; got {self.kind!r}")
        if any(self.shift_px) and "shifted" not in self.kind and self.kind != "distractor":
            raise ValueError(f"a clip with the change {self.kind!r} is not shifted; got shift_px {self.shift_px}")
