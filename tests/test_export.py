"""Recordings as files and as labelled arrays."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from foreign_cells import FusedLSTM, Stack
from gatescope.models import unrolled
from gatescope.recordings import find_gates, record
from gatescope.recordings.export import save_npz, to_xarray


@pytest.fixture
def recording():
    torch.manual_seed(0)
    model, x = Stack(FusedLSTM).eval(), torch.randn(2, 4, 3, 8, 8)
    with torch.no_grad(), record(model, find_gates(model, x)) as found:
        model(x)
    return found


def test_a_file_holds_every_value_by_its_name(recording, tmp_path):
    save_npz(recording, tmp_path / "gates.npz")
    with np.load(tmp_path / "gates.npz") as file:
        assert set(file.files) == set(recording)
        np.testing.assert_array_equal(file["layer2.f"], recording["layer2.f"].numpy())


def test_names_that_numpy_takes_for_its_own(tmp_path):
    save_npz({"file": torch.zeros(1, 2, 3), "cells.0:tanh.0#:": torch.ones(1, 2, 3)}, tmp_path / "odd.npz")
    with np.load(tmp_path / "odd.npz") as file:
        assert set(file.files) == {"file", "cells.0:tanh.0#:"}


def test_labelled_arrays_have_named_dimensions(recording):
    pytest.importorskip("xarray", reason="xarray, which is optional, is not installed")
    found = to_xarray(recording)
    assert found["layer1.f"].dims == ("clip", "step", "channel", "row", "column")
    assert found["layer1.f"].attrs == {"meaning": "f"}
    step = found["layer1.c"].isel(step=2).mean("channel")
    np.testing.assert_allclose(step.values, recording["layer1.c"][:, 2].mean(1).numpy(), rtol=1e-6)
    layer = unrolled(nn.LSTM(3, 5, 2, proj_size=2, batch_first=True))
    with torch.no_grad(), record(layer, "layer1.c", "layer1.h") as vectors:
        layer(torch.randn(1, 4, 3))
    assert to_xarray(vectors)["layer1.h"].dims == ("clip", "step", "channel of layer1")


def test_without_xarray_it_says_what_to_install(recording, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ImportError, match="pip install xarray"):
        to_xarray(recording)
