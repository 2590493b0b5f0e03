"""The skeleton of a whole body: the 17 joints that Human3.6M evaluates, and their parents."""

# Left and right are the person's own.
JOINT_NAMES = (
    "pelvis",
    "right hip", "right knee", "right ankle",
    "left hip", "left knee", "left ankle",
    "spine", "thorax", "neck", "head",
    "left shoulder", "left elbow", "left wrist",
    "right shoulder", "right elbow", "right wrist",
)  # fmt: skip
PARENTS = (0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)  # of each joint; the pelvis is its own
RIGHT = (1, 2, 3, 14, 15, 16)
LEFT = (4, 5, 6, 11, 12, 13)
