"""Networks in plain PyTorch, and factories by name."""

import pytest
import torch

from gatescope.models import unrolled
from gatescope.models.plain import FrameLSTM, PlainConvGRU, PlainConvLSTM, made_by
from gatescope.recordings import find_gates


@pytest.mark.parametrize(
    ("make", "roles"),
    [(PlainConvLSTM, "ifogch"), (PlainConvGRU, "rznh"), (FrameLSTM, "ifogch")],
    ids=lambda each: str(each),
)
def test_each_network_learns_from_clips_and_its_gates_are_found(make, roles):
    torch.manual_seed(0)
    model = make(num_classes=3)
    x, labels = torch.rand(6, 5, 3, 16, 16), torch.tensor([0, 1, 2] * 2)
    model(x)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    if hasattr(model, "lstm"):
        plain = model(x)
        model = unrolled(model)
        torch.testing.assert_close(model(x), plain, atol=1e-5, rtol=0)
    found = find_gates(model, x[:1])
    assert set(found) == {f"layer1.{role}" for role in roles}
    assert found.layers[0].kind in ("LSTM", "GRU")


def test_a_factory_of_a_package_or_of_a_file(tmp_path):
    assert isinstance(made_by("gatescope.models.plain:PlainConvGRU"), PlainConvGRU)
    path = tmp_path / "mine_for_a_test.py"
    path.write_text("from torch import nn\n\ndef make():\n    return nn.Linear(2, 3)\n")
    assert made_by(f"{path}:make").out_features == 3


@pytest.mark.parametrize(
    ("factory", "error", "says"),
    [
        ("no_name", ValueError, "is named `package.module:name` or `file.py:name`; got 'no_name'"),
        ("nowhere.py:make", FileNotFoundError, "no file nowhere.py"),
        ("gatescope.models.plain:nothing", AttributeError, "nothing"),
        ("gatescope.no_module:make", ImportError, "no_module"),
    ],
)
def test_a_wrong_factory_is_named(factory, error, says):
    with pytest.raises(error, match=says):
        made_by(factory)
