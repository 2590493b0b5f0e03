"""The 27 gestures of Jester, in the order that gives each its index, and the names of the exact modalities."""

MODALITIES = ("hand_mask", "depth", "flow")

# The order of Jester's own labels file; a data set's own labels file wins wherever it is present.
JESTER_LABELS: tuple[str, ...] = (
    "Swiping Left",
    "Swiping Right",
    "Swiping Down",
    "Swiping Up",
    "Pushing Hand Away",
    "Pulling Hand In",
    "Sliding Two Fingers Left",
    "Sliding Two Fingers Right",
    "Sliding Two Fingers Down",
    "Sliding Two Fingers Up",
    "Pushing Two Fingers Away",
    "Pulling Two Fingers In",
    "Rolling Hand Forward",
    "Rolling Hand Backward",
    "Turning Hand Clockwise",
    "Turning Hand Counterclockwise",
    "Zooming In With Full Hand",
    "Zooming Out With Full Hand",
    "Zooming In With Two Fingers",
    "Zooming Out With Two Fingers",
    "Thumb Up",
    "Thumb Down",
    "Shaking Hand",
    "Stop Sign",
    "Drumming Fingers",
    "No gesture",
    "Doing other things",
)

# Told apart by how the hand moves, not by which fingers are stretched: swipes, pushing and pulling, rolling, turning,
# shaking, no gesture. A few minutes of training suffice for these.
MOTION_CLASSES: tuple[int, ...] = (*range(6), *range(12, 16), 22, 25)

# Families of look-alike gestures, by their place in JESTER_LABELS: within one, fingers, a direction or both differ.
CONFUSABLE: dict[str, tuple[int, ...]] = {
    "zoom": (16, 17, 18, 19),
    "sideways": (0, 1, 6, 7),
    "up and down": (2, 3, 8, 9),
    "push and pull": (4, 5, 10, 11),
    "roll": (12, 13),
    "turn": (14, 15),
}
