"""Names of values in any model, and the parts they take."""

from collections import OrderedDict, namedtuple

import pytest
import torch

from gatescope.recordings.names import Point

NAMES = [
    "cells.0.conv",
    "rnn[0]",
    "cell[h]",
    "cells.0:sigmoid.1",
    ":sigmoid.0::3",
    "rnn:add.3:40:7#:",
    "cell#0::2[1][:, 0:64]@1",
    "cell#:16",
    "x[..., 0:3]",
    "cell[-1]",
    "cnn@1",
    "",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_read_and_written_alike(name):
    assert str(Point.named(name)) == name


def test_the_parts_of_a_name():
    point = Point.named("cell:chunk.2#1::2[0][:, 0:64]@2")
    assert (point.module, point.operation, point.numbers, point.calls) == (
        "cell",
        "chunk",
        slice(2, 3),
        slice(1, None, 2),
    )
    assert point.keys == (0, (slice(None), slice(0, 64))) and point.time_axis == 2
    assert Point.named("cell#3") == Point.named("cell#3:4")


@pytest.mark.parametrize("name", ["a b", "x:sig", "x#", "a[0", "x@", "x:sigmoid.one", "x#-2:"])
def test_another_form_is_refused(name):
    with pytest.raises(ValueError, match="a name is MODULE or MODULE:OPERATION.NUMBER"):
        Point.named(name)


Pair = namedtuple("Pair", "h c")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("m[1]", (torch.zeros(2), torch.arange(3.0))),
        ("m[1]", [torch.zeros(2), torch.arange(3.0)]),
        ("m[1]", Pair(torch.zeros(2), torch.arange(3.0))),
        ("m[h]", OrderedDict(c=torch.zeros(2), h=torch.arange(3.0))),
        ("m[0][h]", ({"h": torch.arange(3.0)},)),
        ("m[:, 1:4]", torch.arange(10.0).view(2, 5)),
        ("m[1][..., 0:2]", (0, torch.arange(10.0).view(2, 5))),
    ],
)
def test_a_part_is_taken_and_put_back(name, value):
    point = Point.named(name)
    part = point.part_of(value)
    changed = point.with_part(value, part + 1)
    assert type(changed) is type(value)
    torch.testing.assert_close(point.part_of(changed), part + 1)
    torch.testing.assert_close(point.part_of(value), part)  # which stays as it is


@pytest.mark.parametrize(("name", "value"), [("m[2]", (1, 2)), ("m[c]", {"h": 1}), ("m[0]", 3)])
def test_a_part_that_is_not_there(name, value):
    with pytest.raises(LookupError, match="has no part"):
        Point.named(name).part_of(value)


def test_a_value_that_is_no_tensor_says_what_to_name():
    with pytest.raises(TypeError, match="m is a tuple of 2 and no tensor: name a part of it, as m.0."):
        Point.named("m").part_of((torch.zeros(1), torch.zeros(1)))
