"""Motion capture: BVH files of every kind, forward kinematics against its slow twin, damage told by its line."""

import re
import tracemalloc

import numpy as np
import pytest

from gatescope.loaders import ClipError, bvh, read_bvh
from gatescope.loaders.mocap import CMU_UNIT_MM
from rendered_people.body_motion import BodyMotion, resample_joints
from rendered_people.skeleton import JOINT_NAMES, LEFT, PARENTS, RIGHT

SMALL = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT Arm
  {
    OFFSET 0 2 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 1 0
    }
  }
}
MOTION
Frames: 3
Frame Time: 0.01
1 2 3 90 0 0 0 0 0
1 2 3 0 0 0 90 0 0
1 2 3 0 90 0 0 90 0
"""

# A person of 31 cm per unit in the names of the conversion for MotionBuilder: (name, parent, offset).
PERSON = (
    ("Hips", None, (0, 3, 0)),
    ("LHipJoint", "Hips", (0, 0, 0)),
    ("LeftUpLeg", "LHipJoint", (0.3, -0.2, 0)),
    ("LeftLeg", "LeftUpLeg", (0, -1.3, 0)),
    ("LeftFoot", "LeftLeg", (0, -1.3, 0)),
    ("RightUpLeg", "Hips", (-0.3, -0.2, 0)),
    ("RightLeg", "RightUpLeg", (0, -1.3, 0)),
    ("RightFoot", "RightLeg", (0, -1.3, 0)),
    ("Spine", "Hips", (0, 0.6, 0)),
    ("Spine1", "Spine", (0, 0.5, 0)),
    ("Neck", "Spine1", (0, 0, 0)),
    ("Neck1", "Neck", (0, 0.5, 0)),
    ("Head", "Neck1", (0, 0.3, 0)),
    ("LeftShoulder", "Spine1", (0, 0.4, 0)),
    ("LeftArm", "LeftShoulder", (0.6, 0, 0)),
    ("LeftForeArm", "LeftArm", (0.9, 0, 0)),
    ("LeftHand", "LeftForeArm", (0.8, 0, 0)),
    ("RightShoulder", "Spine1", (0, 0.4, 0)),
    ("RightArm", "RightShoulder", (-0.6, 0, 0)),
    ("RightForeArm", "RightArm", (-0.9, 0, 0)),
    ("RightHand", "RightForeArm", (-0.8, 0, 0)),
)
OTHER_DIALECT = {
    "UpLeg": "Hip",
    "Leg": "Knee",
    "Foot": "Ankle",
    "Shoulder": "Collar",
    "Arm": "Shoulder",
    "ForeArm": "Elbow",
    "Hand": "Wrist",
    "Spine": "Chest",
    "Spine1": "Chest2",
    "Neck": "lowerneck",
    "Neck1": "Neck",
}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def hierarchy_text(joints):
    """The section HIERARCHY of (name, parent name, offset, channels); leaves get an End Site 0.4 above them."""

    def lines(name, keyword="JOINT"):
        _, _, offset, channels = next(joint for joint in joints if joint[0] == name)
        children = [joint[0] for joint in joints if joint[1] == name]
        yield f"{keyword} {name}\n{{\nOFFSET {' '.join(map(repr, offset))}"
        if channels:
            yield f"CHANNELS {len(channels)} {' '.join(channels)}"
        for child in children:
            yield from lines(child)
        if not children:
            yield "End Site\n{\nOFFSET 0 0.4 0\n}"
        yield "}"

    return "\n".join(["HIERARCHY", *lines(joints[0][0], "ROOT")])


def motion_text(rows, frame_time=0.01):
    shown = "\n".join(" ".join(map(repr, map(float, row))) for row in rows)
    return f"MOTION\nFrames: {len(rows)}\nFrame Time: {frame_time}\n{shown}\n"


def person_file(path, rename=None, rows=None):
    """A BVH file of PERSON, every joint with three rotations; without rows, one frame of rest."""

    def named(name):
        side = re.match("Left|Right|", name or "")[0]
        return name and side + (rename or {}).get(name[len(side) :], name[len(side) :])

    rotations = ("Zrotation", "Yrotation", "Xrotation")
    joints = [(named(name), named(parent), offset, rotations) for name, parent, offset in PERSON]
    rows = np.zeros((1, 3 * len(PERSON))) if rows is None else rows
    return write(path, hierarchy_text(joints) + "\n" + motion_text(rows))


def slow_joints(text, frame):
    """Names and places, in the file's unit, of one frame: word by word, matrix by matrix, in Python's floats."""
    hierarchy, motion = text.replace("\r", "").split("MOTION")
    values = iter([float(word) for word in motion.strip().split("\n")[2 + frame].split()])
    words = iter(hierarchy.split())
    identity = [[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    names, places, stack, name = [], [], [(identity, [0.0, 0.0, 0.0])], ""
    for word in words:
        if word in ("ROOT", "JOINT", "Site"):
            name = next(words) if word != "Site" else f"{names[-1]} end"
        elif word == "OFFSET":
            turn, place = stack[-1]
            local = [float(next(words)) for _ in range(3)]
            names.append(name)
            places.append([place[i] + sum(turn[i][k] * local[k] for k in range(3)) for i in range(3)])
            stack.append((turn, places[-1]))
        elif word == "CHANNELS":
            turn, place = stack[-2]
            own = turn
            for channel in [next(words) for _ in range(int(next(words)))]:
                axis, value = "XYZ".index(channel[0]), next(values)
                if channel.endswith("position"):
                    local[axis] = value
                    continue
                first, second = (axis + 1) % 3, (axis + 2) % 3
                quarter = [row[:] for row in identity]
                quarter[first][first] = quarter[second][second] = np.cos(np.pi * value / 180)
                quarter[second][first] = np.sin(np.pi * value / 180)
                quarter[first][second] = -quarter[second][first]
                own = [[sum(own[i][k] * quarter[k][j] for k in range(3)) for j in range(3)] for i in range(3)]
            places[-1] = [place[i] + sum(turn[i][k] * local[k] for k in range(3)) for i in range(3)]
            stack[-1] = (own, places[-1])
        elif word == "}":
            stack.pop()
    return tuple(names), np.array(places)


@pytest.fixture(scope="session")
def cmu(shared):
    """The three CMU files, by name."""
    return {path.name: (path, read_bvh(path)) for path in sorted((shared / "realdata" / "cmu_bvh").glob("*.bvh"))}


def test_a_small_file_by_hand(tmp_path):
    mocap = read_bvh(write(tmp_path / "small.bvh", SMALL), unit_mm=10)
    assert (mocap.names, mocap.parents, mocap.fps) == (("Hips", "Arm", "Arm end"), (0, 0, 1), 100)
    wanted = [
        [(1, 2, 3), (-1, 2, 3), (-2, 2, 3)],  # about z: up turns to -x
        [(1, 2, 3), (1, 4, 3), (0, 4, 3)],
        [(1, 2, 3), (1, 4, 3), (2, 4, 3)],  # about x, up turns to z, which the root turned to x
    ]
    np.testing.assert_allclose(mocap.joints, 10 * np.array(wanted, np.float32), atol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_any_hierarchy_and_any_channels_against_the_slow_twin(tmp_path, seed):
    rng = np.random.default_rng(seed)
    kinds = [f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")]
    joints = [("j0", None, (0.0, 1.0, 0.0), tuple(rng.permutation(kinds)))]
    for number in range(1, 12):
        channels = tuple(rng.permutation(kinds)[: rng.integers(0, 7)])
        offset = tuple(rng.normal(size=3).round(4).tolist())
        joints.append((f"j{number}", f"j{rng.integers(number)}", offset, channels))
    rows = rng.uniform(-200, 200, (5, sum(len(joint[3]) for joint in joints)))
    text = hierarchy_text(joints) + "\n" + motion_text(rows)
    mocap = read_bvh(write(tmp_path / "any.bvh", text), unit_mm=1)
    for frame in range(5):
        names, places = slow_joints(text, frame)
        assert mocap.names == names
        np.testing.assert_allclose(mocap.joints[frame], places, rtol=1e-5, atol=1e-3)


def test_cmu_files_against_the_slow_twin(cmu):
    assert len(cmu) == 3
    for path, mocap in cmu.values():
        text = path.read_text()
        assert mocap.fps == pytest.approx(120, rel=1e-4)
        for frame in (0, len(mocap.joints) // 2, len(mocap.joints) - 1):
            names, places = slow_joints(text, frame)
            assert mocap.names == names
            np.testing.assert_allclose(mocap.joints[frame], CMU_UNIT_MM * places, atol=0.01)


def lengths(joints, parents):
    bones = joints - joints[:, list(parents)]
    return np.linalg.norm(bones, axis=-1)


def test_cmu_bones_keep_their_length_and_people_their_size(cmu):
    for _, mocap in cmu.values():
        body = mocap.body()
        for joints, parents in ((mocap.joints, mocap.parents), (body.joints, PARENTS)):
            bones = lengths(joints, parents)
            assert (np.ptp(bones, axis=0) <= 0.005 * bones.mean(axis=0) + 0.01).all()
        height_m = np.ptp(mocap.joints[..., 1], axis=1).max() / 1000
        assert 1.3 < height_m < 2
        assert np.abs(mocap.joints[..., 1].min()) < 150  # the floor is at 0
        # What keeping the bones costs: nothing in the legs, a little in the arms.
        wrist = mocap.joints[:, mocap.names.index("LeftWrist")]
        moved = np.linalg.norm(body.joints[:, JOINT_NAMES.index("left wrist")] - wrist, axis=1)
        assert moved.mean() < 6 and moved.max() < 15
        ankle = mocap.joints[:, mocap.names.index("RightAnkle")]
        np.testing.assert_allclose(body.joints[:, JOINT_NAMES.index("right ankle")], ankle, atol=0.01)


@pytest.mark.parametrize("name", ["131_01.bvh", "131_03.bvh"])
def test_people_walk_the_way_they_face(cmu, name):
    """Facing is told from left and right: taken for each other, people would walk backwards."""
    body = cmu[name][1].body()
    velocity = np.diff(body.joints[:, 0], axis=0)[:, [0, 2]] * body.fps
    speed = np.linalg.norm(velocity, axis=1)
    forward = np.stack([np.sin(body.yaw), np.cos(body.yaw)], axis=1)[:-1]
    along = (velocity * forward).sum(axis=1) / np.maximum(speed, 1e-6)
    assert along[speed > 700].mean() > 0.4


def test_cmu_motion_at_another_rate(cmu):
    for _, mocap in cmu.values():
        body = mocap.body()
        slow = body.resampled(12.5)
        assert slow.fps == 12.5
        assert len(slow.joints) == 1 + int((len(body.joints) - 1) / body.fps * 12.5)
        bones = lengths(body.joints, PARENTS)[: len(slow.joints)]
        np.testing.assert_allclose(lengths(slow.joints, PARENTS), bones, atol=0.01)
        # Step 25 is at 2 s, frame 240.
        np.testing.assert_allclose(slow.joints[25], body.joints[240], atol=0.1)


def test_both_dialects_give_one_body(tmp_path):
    rows = np.random.default_rng(0).uniform(-40, 40, (4, 3 * len(PERSON)))
    bodies = [
        read_bvh(person_file(tmp_path / f"{number}.bvh", rename, rows), unit_mm=310).body()
        for number, rename in enumerate((None, OTHER_DIALECT))
    ]
    np.testing.assert_array_equal(bodies[0].joints, bodies[1].joints)


@pytest.mark.parametrize("rename", [None, OTHER_DIALECT])
def test_the_seventeen_joints_at_rest(tmp_path, rename):
    body = read_bvh(person_file(tmp_path / "person.bvh", rename), unit_mm=310).body()
    x, y = body.joints[0, :, 0] / 310, body.joints[0, :, 1] / 310
    heights = dict(zip(JOINT_NAMES, y.round(4).tolist(), strict=True))
    wanted = {"pelvis": 3, "spine": 3.6, "thorax": 4.6, "neck": 4.9, "head": 5.3, "left hip": 2.8, "right ankle": 0.2}
    assert {name: heights[name] for name in wanted} == pytest.approx(wanted, abs=1e-3)
    assert (x[list(LEFT)] > 0.2).all() and (x[list(RIGHT)] < -0.2).all()
    assert x[[JOINT_NAMES.index(f"left {part}") for part in ("shoulder", "elbow", "wrist")]] == pytest.approx(
        [0.6, 1.5, 2.3], abs=1e-3
    )
    assert body.yaw == pytest.approx(0, abs=1e-6)  # left along x, up along y: faces z


def test_a_unit_that_makes_no_person_is_refused(tmp_path):
    mocap = read_bvh(person_file(tmp_path / "person.bvh"), unit_mm=3100)
    with pytest.raises(ValueError, match=r"would be 1\d\.?\d* m from ankle to crown.*unit_mm"):
        mocap.body()
    with pytest.raises(ValueError, match="unit_mm"):
        read_bvh(tmp_path / "person.bvh", unit_mm=0)


def test_joints_of_other_names_make_no_body(tmp_path):
    with pytest.raises(LookupError, match=r"no joint .*LeftUpLeg.*it has Hips, Arm, Arm end"):
        read_bvh(write(tmp_path / "small.bvh", SMALL)).body()


VARIANTS = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "tabs": lambda text: re.sub(" +", "\t", text),
    "lower case": lambda text: text.lower().replace("hips", "Hips").replace("arm", "Arm"),
    "upper case": lambda text: text.upper().replace("HIPS", "Hips").replace("ARM", "Arm"),
    "no end site": lambda text: re.sub(r"End Site\s*{[^}]*}", "", text),
    "braces on the line": lambda text: re.sub(r"\s*{", " {", text),
    "hierarchy on one line": lambda text: text.replace("\n", " ", 15),
    "exponents": lambda text: text.replace(" 90 ", " 9.0e+1 ").replace(" 2 ", " 0.2E1 ").replace("0.01", "1e-2"),
    "no final newline": lambda text: text.rstrip("\n"),
    "blank lines": lambda text: text.replace("\n", "\n\n  \n"),
    "byte order mark": lambda text: "\ufeff" + text,
    "CR": lambda text: text.replace("\n", "\r"),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-16, big-endian, CRLF": lambda text: ("\ufeff" + text.replace("\n", "\r\n")).encode("utf-16-be"),
    "EndSite in one word": lambda text: text.replace("End Site", "EndSite"),
    "no colons": lambda text: text.replace("Frames:", "Frames").replace("Frame Time:", "Frame Time"),
    "comments": lambda text: text.replace("\n", "\n# by a tool { }\n  // and another\n"),
    "channels with zeros": lambda text: text.replace("CHANNELS 3", "CHANNELS " + 5000 * "0" + "3"),
    "trailing spaces": lambda text: text.replace("\n", "   \n"),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_ways_of_writing_the_same(tmp_path, variant):
    plain = read_bvh(write(tmp_path / "plain.bvh", SMALL))
    other = read_bvh(write(tmp_path / "other.bvh", VARIANTS[variant](SMALL)))
    count = len(other.names)
    assert other.names == plain.names[:count] and count >= 2 and other.fps == plain.fps
    np.testing.assert_array_equal(other.joints, plain.joints[:, :count])


def test_scale_channels_are_ones(tmp_path):
    plain = read_bvh(write(tmp_path / "plain.bvh", SMALL))
    text = SMALL.replace("CHANNELS 3", "CHANNELS 6 Xscale Yscale Zscale")
    rows = re.sub(r"(?m)^((?:[\d]+ ){5}\d+) ", r"\1 1 1 1.0 ", text)
    np.testing.assert_array_equal(read_bvh(write(tmp_path / "one.bvh", rows)).joints, plain.joints)
    with pytest.raises(ClipError, match="scales a joint"):
        read_bvh(write(tmp_path / "two.bvh", rows.replace("1 1 1.0", "1 1 2.0", 1)))


def test_a_name_that_is_there_twice_gets_a_number(tmp_path):
    assert read_bvh(write(tmp_path / "a.bvh", SMALL.replace("Arm", "Hips"))).names == (
        "Hips",
        "Hips (2)",
        "Hips (2) end",
    )
    taken = (
        SMALL.replace("Hips", "Arm (2)")
        .replace("End Site", "JOINT Arm")
        .replace("OFFSET 0 1 0", "OFFSET 0 1 0 CHANNELS 0")
    )
    assert read_bvh(write(tmp_path / "b.bvh", taken)).names == ("Arm (2)", "Arm", "Arm (3)")


def renamed(text, names):
    return re.sub(r"(?m)(ROOT|JOINT) (\w+)", lambda found: f"{found[1]} {names(found[2])}", text)


def in_unit(text, unit_mm):
    """The same motion in another unit: offsets and the root's positions scaled, as far as float64 goes."""
    by = CMU_UNIT_MM / unit_mm
    head, motion = text.split("MOTION")
    head = re.sub(r"(OFFSET)(.*)", lambda line: "OFFSET " + scaled(line[2].split(), by), head)
    lines = motion.strip().splitlines()
    rows = [" ".join([scaled(line.split()[:3], by), *line.split()[3:]]) for line in lines[2:]]
    return "\n".join([head + "MOTION", *lines[:2], *rows]) + "\n"


def scaled(words, by):
    return " ".join(repr(float(word) * by) for word in words)


def z_up(text):
    """A root of its own above, turned by 90 degrees about x: y becomes z."""
    text = re.sub("ROOT", "ROOT World\n{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\nJOINT", text).replace(
        "MOTION", "}\nMOTION"
    )
    head, motion = text.split("MOTION")
    lines = motion.strip().splitlines()
    return "\n".join([head + "MOTION", *lines[:2], *("90 " + line for line in lines[2:])]) + "\n"


MIXAMO = {"Hip": "UpLeg", "Knee": "Leg", "Ankle": "Foot", "Shoulder": "Arm", "Elbow": "ForeArm", "Wrist": "Hand"}
BLENDER = {
    "Hip": "thigh",
    "Knee": "shin",
    "Ankle": "foot",
    "Shoulder": "upper_arm",
    "Elbow": "forearm",
    "Wrist": "hand",
}


def mixamo(name):
    side = re.match("Left|Right|", name)[0]
    part = name[len(side) :]
    return (
        f"mixamorig:{side}{MIXAMO.get(part, 'Shoulder' if part == 'Collar' else 'Spine' if part == 'Chest' else part)}"
    )


def blender(name):
    side = re.match("Left|Right|", name)[0]
    part = name[len(side) :]
    part = BLENDER.get(part, "shoulder" if part == "Collar" else {"Chest": "spine.001"}.get(part, part.lower()))
    return f"{part}.{side[0]}" if side else part


# What other tools make of one of CMU's files: its text, and the unit and the axis that are then told.
TOOLS = {
    "Mixamo, cm": (lambda text: in_unit(renamed(text, mixamo), 10), 10, "y"),
    "Blender, m, z up": (lambda text: z_up(in_unit(renamed(text, blender), 1000)), 1000, "z"),
    "inches": (lambda text: in_unit(text, 25.4), 25.4, "y"),
    "z up": (z_up, CMU_UNIT_MM, "z"),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_body_is_the_same_in_the_files_of_other_tools(cmu, tmp_path, tool):
    path, mocap = cmu["131_01.bvh"]
    head, _, motion = path.read_text().replace("\r", "").partition("MOTION")
    lines = motion.strip().splitlines()
    text = "\n".join([head + "MOTION", "Frames: 40", lines[1], *lines[2:42]]) + "\n"
    change, unit_mm, up = TOOLS[tool]
    made = change(text)
    other = read_bvh(write(tmp_path / "other.bvh", made))
    assert (other.unit_mm, other.up) == (unit_mm, up)
    plain = read_bvh(write(tmp_path / "plain.bvh", text))
    assert (plain.unit_mm, plain.up) == (CMU_UNIT_MM, "y")
    np.testing.assert_allclose(other.body().joints, plain.body().joints, atol=0.02)


def test_names_may_hold_spaces_and_roots_be_many(tmp_path):
    second = "ROOT left prop\n{\nOFFSET 5 0 0\nCHANNELS 1 Xposition\n}\nMOTION"
    text = re.sub(r"(?m)^([\d.]+ .*)$", r"\1 7", SMALL).replace("MOTION", second)
    mocap = read_bvh(write(tmp_path / "two.bvh", text), unit_mm=1)
    assert mocap.names[-1] == "left prop" and mocap.parents == (0, 0, 1, 3)
    np.testing.assert_array_equal(mocap.joints[:, -1], [[7, 0, 0]] * 3)


# A file's fault, the line where it stands, and what is said of it.
FAULTS = {
    "empty": ("", 1, "begins with HIERARCHY"),
    "another file": (SMALL.replace("HIERARCHY", "OFF"), 1, "begins with HIERARCHY; got 'OFF'"),
    "no motion": (SMALL.split("MOTION")[0], 15, "ends before its MOTION"),
    "no joint": (SMALL.replace("ROOT Hips\n{", "{"), 2, "ROOT or MOTION was expected; got '{'"),
    "joint as root": (SMALL.replace("ROOT", "JOINT"), 2, "inside a joint's braces"),
    "root in a joint": (SMALL.replace("JOINT", "ROOT"), 6, "outside a joint's braces"),
    "end outside": (SMALL.replace("ROOT Hips", "End Site"), 2, "End must stand inside"),
    "end of nothing": (SMALL.replace("End Site", "End"), 10, "End Site was expected; got ''"),
    "no name": (SMALL.replace("JOINT Arm", "JOINT"), 6, "JOINT and a name"),
    "no brace": (SMALL.replace("Arm\n  {", "Arm\n"), 8, "an opening brace was expected; got 'OFFSET'"),
    "open brace": (SMALL.replace("}\nMOTION", "\nMOTION"), 16, "while the braces of 'Hips' are open"),
    "brace too many": (SMALL.replace("}\nMOTION", "}\n}\nMOTION"), 16, "got '}'"),
    "unknown word": (SMALL.replace("    OFFSET 0 2 0", "    LENGTH 2"), 8, "got 'LENGTH'"),
    "no offset": (SMALL.replace("    OFFSET 0 2 0\n", ""), 13, "'Arm' has no OFFSET"),
    "short offset": (SMALL.replace("OFFSET 0 2 0", "OFFSET 0 2"), 9, "OFFSET takes three numbers .* got 'CHANNELS'"),
    "offset of NaN": (SMALL.replace("0 2 0", "0 nan 0"), 8, "got 'nan'"),
    "offset beyond": (SMALL.replace("0 2 0", "0 1e10 0"), 8, "at most 1e.09; got '1e10'"),
    "offset in Python's manner": (SMALL.replace("0 2 0", "0 1_0 0"), 8, "got '1_0'"),
    "unknown channel": (SMALL.replace("3 Zrotation", "3 Wrotation"), 9, "got 'Wrotation'"),
    "fewer channels": (SMALL.replace("CHANNELS 3", "CHANNELS 4"), 10, "got 'End'"),
    "more channels": (SMALL.replace("CHANNELS 3", "CHANNELS 2"), 9, "got 'Yrotation'"),
    "a million channels": (SMALL.replace("CHANNELS 3", "CHANNELS 1000000"), 9, "0 to 9 channels, 'Arm' '1000000'"),
    "a channel count of 5,000 digits": (SMALL.replace("CHANNELS 3", "CHANNELS 1" + 5000 * "0"), 9, "0 to 9 channels"),
    "channels below zero": (SMALL.replace("CHANNELS 3", "CHANNELS -1"), 9, "0 to 9 channels"),
    "channels twice": (SMALL.replace("    End", "    CHANNELS 7 End"), 10, "0 to 9 channels"),
    "one position twice": (SMALL.replace("Yposition", "Xposition"), 5, "two position channels of one axis"),
    "no channel": (re.sub("CHANNELS.*\n", "", SMALL), 14, "nothing moves"),
    "no number of frames": (SMALL.replace("Frames: 3\n", ""), 17, "'Frames: ' and their number"),
    "no frame": (SMALL[: SMALL.index("1 2 3")], 18, "ends before its first frame"),
    "many digits of frames": (SMALL.replace("Frames: 3", "Frames: 3" + "0" * 5000), 17, "'Frames: ' and their number"),
    "half a frame": (SMALL.replace("Frames: 3", "Frames: 2.5"), 17, "got '2.5'"),
    "an end within a row": (SMALL.replace("Frames: 3", "Frames: 4")[:-1], 21, "ends within frame 3 of 4"),
    "no frame time": (SMALL.replace("Frame Time: 0.01\n", ""), 18, "'Frame Time: '"),
    "frame time zero": (SMALL.replace("0.01", "0.0"), 18, "millionth of a second or more .* got '0.0'"),
    "frame time below zero": (SMALL.replace("0.01", "-0.01"), 18, "got '-0.01'"),
    "frame time of years": (SMALL.replace("0.01", "1e9"), 18, "at most an hour .* got '1e9'"),
    "two offsets": (SMALL.replace("OFFSET 0 2 0", "OFFSET 0 2 0 OFFSET 0 3 0"), 8, "'Arm' has two OFFSETs"),
    "frame time infinite": (SMALL.replace("0.01", "inf"), 18, "got 'inf'"),
    "a short row": (SMALL.replace("1 2 3 0 0 0 90 0 0", "1 2 3 0 0 0 90 0"), 20, "holds 8 numbers where .* 9 channels"),
    "a long row": (SMALL.replace("1 2 3 0 0 0 90 0 0", "1 2 3 0 0 0 90 0 0 0"), 20, "holds more numbers"),
    "a row of NaN": (SMALL.replace("0 90 0\n", "0 nan 0\n"), 21, "'nan' is no number"),
    "infinite": (SMALL.replace("0 90 0\n", "0 -inf 0\n"), 21, "'-inf' is no number"),
    "beyond": (SMALL.replace("0 90 0\n", "0 1e400 0\n"), 21, "'1e400' is no number"),
    "comma": (SMALL.replace("0 90 0\n", "0 9,5 0\n"), 21, "'9,5' is no number"),
    "rubbish in a row": (SMALL.encode()[:-4] + b"\xff\xfe0 0\n", 21, "is no number"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_malformed_file_is_told_by_its_line(tmp_path, fault):
    content, line, said = FAULTS[fault]
    path = write(tmp_path / "bad.bvh", content)
    with pytest.raises(ClipError, match=said) as caught:
        read_bvh(path)
    assert (caught.value.path, caught.value.line) == (path, line)


def test_a_file_cut_off_anywhere_is_told(tmp_path, shapes_unchecked):
    whole = read_bvh(write(tmp_path / "whole.bvh", SMALL))
    for stop in range(len(SMALL) - 2):
        path = write(tmp_path / "cut.bvh", SMALL[:stop])
        num_rows = max(0, SMALL.count("\n", 0, stop) - 18)
        if num_rows and SMALL[:stop].endswith("\n"):
            mocap = read_bvh(path)
            np.testing.assert_array_equal(mocap.joints, whole.joints[:num_rows])
            assert mocap.notes == (f"the file declares 3 frames and holds {num_rows}",)
        else:
            with pytest.raises(ClipError):
                read_bvh(path)


@pytest.mark.parametrize("declared", [0, 1, 2, 4, 1_000_000_000])
def test_frames_that_stand_in_the_file_are_read_whatever_their_number_is_said_to_be(tmp_path, declared):
    whole = read_bvh(write(tmp_path / "whole.bvh", SMALL))
    mocap = read_bvh(write(tmp_path / "other.bvh", SMALL.replace("Frames: 3", f"Frames: {declared}")))
    np.testing.assert_array_equal(mocap.joints, whole.joints)
    assert (whole.notes, mocap.notes) == ((), (f"the file declares {declared} frames and holds 3",))


def test_rubbish_ends_in_a_typed_error_or_in_a_motion(tmp_path, shapes_unchecked):
    rng = np.random.default_rng(0)
    kept = 0
    for _ in range(200):
        content = np.frombuffer(SMALL.encode(), np.uint8).copy()
        places = rng.integers(0, len(content), rng.integers(1, 6))
        content[places] = rng.choice(np.frombuffer(b"0 9-.eE\n\t{}x\x00\xff", np.uint8), len(places))
        try:
            mocap = read_bvh(write(tmp_path / "rubbish.bvh", content.tobytes()))
        except ClipError as error:
            assert error.line >= 1
        else:
            kept += 1
            assert np.isfinite(mocap.joints).all() and mocap.joints.shape[1:] == (len(mocap.names), 3)
            assert len(mocap.joints) == 3 or mocap.notes
    assert 0 < kept < 200
    for _ in range(20):
        with pytest.raises(ClipError):
            read_bvh(write(tmp_path / "rubbish.bvh", rng.bytes(2000)))


def chain(num_joints):
    """A hierarchy as deep as it has joints, with one frame."""
    opened = "".join(f"JOINT j{number} {{ OFFSET 0 1 0\n" for number in range(num_joints - 1))
    opened = f"HIERARCHY\nROOT r {{ OFFSET 0 0 0 CHANNELS 1 Zrotation\n{opened}"
    return f"{opened}{'}' * num_joints}\nMOTION\nFrames: 1\nFrame Time: 1\n90\n"


@pytest.mark.slow
def test_a_very_deep_hierarchy_is_read(tmp_path):
    mocap = read_bvh(write(tmp_path / "deep.bvh", chain(1000)), unit_mm=1)
    np.testing.assert_allclose(mocap.joints[0, -1], [-999, 0, 0], atol=1e-2)


def many_joints(tmp_path):
    joint = "JOINT j{} {{ OFFSET 0 0 0 CHANNELS 6 Xposition Yposition Zposition Xrotation Yrotation Zrotation }}\n"
    # Beyond the limit the names repeat, which is never looked at.
    joints = "".join(map(joint.format, range(1100))) + 162_000 * joint.format("")
    return write(tmp_path / "many.bvh", "HIERARCHY\nROOT r {\nOFFSET 0 0 0\n" + joints)


BOMBS = {
    "10^6 channels on many joints": (many_joints, "more than 1024 joints"),
    "a hierarchy too deep": (lambda tmp_path: write(tmp_path / "a", chain(4001)), "more than 1024 joints"),
    "one long line": (lambda tmp_path: write(tmp_path / "a", b"HIERARCHY " * 1_000_000), "longer than"),
    "one long row": (
        lambda tmp_path: write(tmp_path / "a", SMALL[:-19] + 900_000 * " 1"),
        "more numbers where the hierarchy declares 9",
    ),
    "a long row without an end": (
        lambda tmp_path: write(tmp_path / "a", SMALL[:-19] + 9_000_000 * "1"),
        "line 21: is longer than 2 MiB",
    ),
    "zeros": (lambda tmp_path: write(tmp_path / "a", bytes(10_000_000)), "longer than|HIERARCHY"),
    # 1,000 joints that never move, each frame two bytes: 6 kB in memory.
    "many joints and many frames": (
        lambda tmp_path: write(tmp_path / "a", chain(1000) + 40_000 * "0\n"),
        "more than 33554 frames of 1000 joints",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("bomb", BOMBS)
def test_memory_stays_bounded(tmp_path, shapes_unchecked, bomb):
    make, said = BOMBS[bomb]
    path = make(tmp_path)
    tracemalloc.start()
    try:
        with pytest.raises(ClipError, match=said):
            read_bvh(path)
        assert tracemalloc.get_traced_memory()[1] < 80 << 20
    finally:
        tracemalloc.stop()


def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    path = write(tmp_path / "a.bvh", SMALL[: SMALL.index("MOTION")] + motion_text(rng.uniform(-90, 90, (40, 9))))
    whole = read_bvh(path)
    monkeypatch.setattr(bvh, "_BLOCK_BYTES", 257)
    np.testing.assert_array_equal(read_bvh(path).joints, whole.joints)
    content = path.read_text().split("\n")
    content[18 + 29] = content[18 + 29].replace(" ", " x", 1)
    with pytest.raises(ClipError) as caught:
        read_bvh(write(path, "\n".join(content)))
    assert caught.value.line == 48


def test_numbers_are_read_as_python_reads_them(tmp_path):
    rng = np.random.default_rng(0)
    words = [f"{value:.{digits}{kind}}" for value in rng.normal(0, 1000, 40) for digits in (0, 4, 17) for kind in "feg"]
    words += ["1", "-1", "+1", ".5", "5.", "-.5e3", "1e-3", "1E+5", "0e999", "1e-400", "00012.5", "-0.0", "1e9"]
    words += ["0." + 400 * "0" + "1e400", "1" + 30 * "0" + "e-30", 5 * "123456789" + "e-40"]
    path = tmp_path / "words.bvh"
    head = chain(1).removesuffix("90\n")
    text = head.replace("Frames: 1", f"Frames: {len(words)}") + "\n".join(words)
    with write(path, text).open("rb") as file:
        rows = np.concatenate(list(bvh.BvhFile(file, path).rows()))
    np.testing.assert_array_equal(rows[:, 0], [float(word) for word in words])
    no_numbers = ["nan", "inf", "1e", "1e+", ".", "-", "+", "-e5", "0x1", "1_0", "1,5", "1e400", "1.0.0", "1-2", "1e10"]
    for word in no_numbers:
        with pytest.raises(ClipError, match=r"is no number of at most 1e\+09"):
            read_bvh(write(path, head + word))


def test_what_numpy_refuses_and_the_rules_allow_is_read_line_by_line(tmp_path):
    """A stray carriage return between two numbers is white space here and the end of a row to NumPy."""
    plain = read_bvh(write(tmp_path / "plain.bvh", SMALL))
    other = read_bvh(write(tmp_path / "other.bvh", SMALL.replace("1 2 3 0", "1 2\r3 0")))
    np.testing.assert_array_equal(other.joints, plain.joints)


def test_a_long_word_is_refused_in_linear_time(tmp_path):
    path = write(tmp_path / "long.bvh", SMALL.replace("0 90 0\n", "0 " + 1_000_000 * "1" + "x 0\n"))
    with pytest.raises(ClipError, match="is no number"):
        read_bvh(path)


def test_a_missing_file_a_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="is missing"):
        read_bvh(tmp_path / "none.bvh")
    with pytest.raises(ClipError, match="is a folder"):
        read_bvh(tmp_path)


def some_body(num_frames=9, fps=10.0):
    joints = np.random.default_rng(0).normal(0, 300, (num_frames, 17, 3)).astype(np.float32)
    return BodyMotion(joints=joints, fps=fps, source="noise")


def test_a_bone_turns_on_its_arc_and_keeps_its_length():
    angles = np.linspace(0, np.pi / 2, 4)
    tip = 100 * np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1)
    root = np.outer(np.arange(4), (30, 0, 0))
    joints = np.stack([root, root + tip], axis=1).astype(np.float32)
    finer = resample_joints(joints, (0, 0), 3, 30)
    turned = np.linspace(0, np.pi / 2, 31)
    wanted = 100 * np.stack([np.cos(turned), np.sin(turned), 0 * turned], axis=1)
    np.testing.assert_allclose(finer[:, 1] - finer[:, 0], wanted, atol=1e-3)
    np.testing.assert_allclose(finer[:, 0, 0], np.linspace(0, 90, 31), atol=1e-3)


def test_resampling_at_the_frames_changes_nothing():
    body = some_body()
    np.testing.assert_allclose(body.resampled(10).joints, body.joints, atol=1e-3)
    np.testing.assert_allclose(body.resampled(40).joints[::4], body.joints, atol=1e-3)
    np.testing.assert_allclose(body.resampled(5).joints, body.joints[::2], atol=1e-3)


def test_resampling_edges():
    assert some_body(1).resampled(1000).joints.shape == (1, 17, 3)
    assert some_body(2).resampled(0.1).joints.shape == (1, 17, 3)
    there_and_back = np.zeros((3, 2, 3), np.float32)
    there_and_back[:, 1, 0] = (100, -100, 0)
    finer = resample_joints(there_and_back, (0, 0), 1, 4)
    np.testing.assert_allclose(finer[:, 1, 0], [100, 100, -100, -100, -100, -75, -50, -25, 0], atol=1e-3)
    with pytest.raises(ValueError, match="fps"):
        some_body().resampled(0)


def test_a_body_that_cannot_be_is_refused():
    joints = some_body().joints
    with pytest.raises(ValueError, match="at least one frame"):
        BodyMotion(joints=joints[:0], fps=10, source="empty")
    with pytest.raises(ValueError, match="finite"):
        BodyMotion(joints=joints * np.float32(np.nan), fps=10, source="nan")
    with pytest.raises(ValueError, match="fps"):
        BodyMotion(joints=joints, fps=0, source="still")


@pytest.mark.parametrize("yaw", [-2.0, 0.0, 0.5, 3.0])
def test_yaw_follows_the_body(tmp_path, yaw):
    rest = read_bvh(person_file(tmp_path / "person.bvh"), unit_mm=310).body().joints
    cosine, sine = np.cos(yaw), np.sin(yaw)
    turn = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]], np.float32)
    assert BodyMotion(joints=rest @ turn.T, fps=1, source="turned").yaw == pytest.approx(yaw, abs=1e-5)
