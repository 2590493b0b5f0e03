"""JOINT_NAMES_OF: what the tools that write BVH files call the joints of a body; a row of your own goes here too."""

import re
from collections.abc import Sequence

from rendered_people.skeleton import JOINT_NAMES

# Names without side, prefix, case and signs: "mixamorig:LeftUpLeg" and "upleg_l" are both the left "upleg". The first
# that a file has is taken. "headend" is the End Site of Head.
_TRUNK = {
    "pelvis": ("hips", "pelvis", "hip"),
    "thorax": ("neck1", "neck", "neck01"),
    "neck": ("head",),
    "head": ("headend", "headtopend"),
}
_PARTS = ("hip", "knee", "ankle", "spine", "shoulder", "elbow", "wrist")
JOINT_NAMES_OF: dict[str, dict[str, tuple[str, ...]]] = {
    tool: _TRUNK | {part: (name,) for part, name in zip(_PARTS, names.split(), strict=True)}
    for tool, names in {
        # CMU's conversion for MotionBuilder. Its LeftShoulder is the clavicle.
        "MotionBuilder and Mixamo": "upleg leg foot spine arm forearm hand",
        # CMU's conversion for 3ds Max. Its LeftShoulder is where the upper arm begins; the clavicle is LeftCollar.
        "3ds Max": "hip knee ankle chest shoulder elbow wrist",
        "Rokoko": "thigh shin foot spine arm forearm hand",
        "Blender": "thigh shin foot spine001 upperarm forearm hand",
        "Blender, simple": "thigh shin foot spine upperarm forearm hand",
        "Biped": "thigh calf foot spine upperarm forearm hand",
        "Unreal": "thigh calf foot spine01 upperarm lowerarm hand",
    }.items()
}


def plain_name(name: str) -> str:
    """Return "left upleg" for "mixamorig:LeftUpLeg", "UpLeg.L" and "L_UpLeg"."""
    name = re.sub(r"^(.*:|mixamorig\d*_?|bip\d*[ _])", "", name, flags=re.IGNORECASE)
    side = re.match(r"(?i:left|right)|[lr](?=[A-Z])|[lrLR](?=[ _.-])", name) or re.search(r"(?<=[ _.-])[lrLR]$", name)
    if not side:
        return re.sub(r"[^a-z0-9]", "", name.lower())
    rest = name[: side.start()] + name[side.end() :]
    word = {"l": "left", "r": "right"}[side[0][0].lower()]
    return f"{word} {re.sub(r'[^a-z0-9]', '', rest.lower())}"


def places_of(names: Sequence[str]) -> list[int | None]:
    """Return the place in `names` of each of the 17 joints, of the tool that fits; None for a thorax without a neck.

    Raises LookupError naming the joints that are missing and the tools that are known.
    """
    places = {plain_name(name): place for place, name in reversed(list(enumerate(names)))}
    missing = []
    for known in JOINT_NAMES_OF.values():
        found, lacking = [], []
        for joint in JOINT_NAMES:
            side, _, part = joint.rpartition(" ")
            wanted = [f"{side} {name}".strip() for name in known[part]]
            place = next((places[name] for name in wanted if name in places), None)
            found.append(place)
            if place is None and joint != "thorax":
                lacking.append(f"{joint} ({' or '.join(wanted)})")
        if not lacking:
            return found
        missing.append(lacking)
    raise LookupError(
        f"no joint {', '.join(min(missing, key=len))}; names of {', '.join(JOINT_NAMES_OF)} are known (LeftUpLeg ... "
        f"or LeftHip ...): add a row to JOINT_NAMES_OF for others; it has {', '.join(names)[:2000]}"
    )
