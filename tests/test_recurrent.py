"""Every cell against explicit loops, its edges, its gradients, and what it computes at once against step by step."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from gatescope.models import CELLS, STUDY_CELLS, RecurrentLayer, cells, convolutions, scans
from gatescope.models.cells import GATE_KINDS, Cell, peak_at_one, quick_tanh, sum_to_one
from gatescope.recordings import intervene, record
from slow_cells import SlowLayer, hard_sigmoid, sigmoid

MIXED = Cell(i="conv", f="pooled", o="attention", candidate="separable")
EVERYTHING = Cell(i="attention", f="conv", o="attention", candidate="conv", input_attention=True)
OTHERS = ("separable", "a_gates_of_x", "a_of_x", "convlstm_of_x", "min_conv", "min_separable", "gru")
LINEAR = {
    **{name: STUDY_CELLS[name] for name in OTHERS if STUDY_CELLS[name].is_linear},
    "min_pooled": Cell("pooled", "pooled", None, "separable", sees_state="none", minimal=True),
    "attention_of_x": Cell("attention", "separable", "attention", "conv", sees_state="none"),
}
ROWS = {
    **CELLS,
    "b_rescaled": STUDY_CELLS["b_rescaled"],
    "mixed": MIXED,
    "everything": EVERYTHING,
    **{name: STUDY_CELLS[name] for name in OTHERS},
    **LINEAR,
    "pooled_gru": Cell(None, "pooled", None, "separable", reset="pooled"),
}
SIZES = {  # kernel_size, batch, time, in_channels, hidden_channels, height, width
    "one step, one clip, 1 x 1 kernel": (1, 1, 1, 3, 2, 2, 3),
    "odd and not square": (3, 2, 3, 2, 3, 5, 4),
    "5 x 5 kernel wider than the map": (5, 1, 2, 3, 3, 3, 2),
    "one position": (3, 1, 2, 2, 3, 1, 1),
}


def random_layer(cell, size, seed=0, **options):
    """A layer in float64 with every weight and bias random, an input, and an initial state."""
    kernel_size, batch, time, in_channels, hidden, height, width = size
    generator = torch.Generator().manual_seed(seed)
    layer = RecurrentLayer(cell, in_channels, hidden, kernel_size, **options).double()
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    x = torch.randn(batch, time, in_channels, height, width, generator=generator, dtype=torch.float64)
    shape = (batch, hidden, height, width)
    state = tuple(torch.randn(shape, generator=generator, dtype=torch.float64) for _ in "hc")
    return layer, x, state


@pytest.mark.parametrize("cell", ROWS)
def test_without_memory_every_step_is_a_first_step(cell):
    layer, x, state = random_layer(ROWS[cell], (3, 2, 4, 2, 3, 5, 4), memory=False)
    remembering, *_ = random_layer(ROWS[cell], (3, 2, 4, 2, 3, 5, 4))
    alone = torch.stack([remembering(x[:, [step]])[:, 0] for step in range(4)], dim=1)
    torch.testing.assert_close(layer(x), alone)
    torch.testing.assert_close(layer(x, state), alone)
    assert not torch.allclose(remembering(x), alone)


@pytest.mark.slow
@pytest.mark.parametrize("conventions", ["paper", "authors"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_every_quantity_is_the_equations(cell, size, conventions):
    if cell.minimal and conventions == "authors":
        with pytest.raises(ValueError, match="both hard sigmoids of a minimal cell may be 0: needed 'paper'"):
            random_layer(cell, size, conventions=conventions)
        return
    layer, x, state = random_layer(cell, size, conventions=conventions)
    slow = SlowLayer(cell, layer.state_dict(), {"paper": sigmoid, "authors": hard_sigmoid}[conventions])
    with torch.no_grad(), record(layer) as recording:
        hidden, (last_h, last_c) = layer(x, state, return_state=True)
    for clip in range(len(x)):
        expected = slow.run(x[clip], *(part[clip].numpy() for part in state))
        for name, values in expected.items():
            np.testing.assert_allclose(recording[name][clip], values, rtol=1e-10, atol=1e-12, err_msg=name)
        np.testing.assert_allclose(hidden[clip], expected["h"], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(last_h[clip], expected["h"][-1], rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(last_c[clip], expected["c"][-1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_without_a_state_it_starts_from_zero(cell):
    layer, x, state = random_layer(cell, SIZES["odd and not square"])
    zero = tuple(torch.zeros_like(part) for part in state)
    torch.testing.assert_close(layer(x), layer(x, zero), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_a_clip_in_two_pieces_gives_what_the_whole_gives(cell):
    layer, x, state = random_layer(cell, (3, 2, 5, 2, 3, 4, 3))
    whole, end = layer(x, state, return_state=True)
    first, between = layer(x[:, :2], state, return_state=True)
    second, end_in_pieces = layer(x[:, 2:], between, return_state=True)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(end_in_pieces, end, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_one_clip_does_not_change_with_the_others_of_its_batch(cell):
    layer, x, state = random_layer(cell, (3, 3, 2, 2, 3, 4, 3))
    alone = layer(x[1:2], tuple(part[1:2] for part in state))
    torch.testing.assert_close(layer(x, state)[1:2], alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_float32_stays_with_float64(cell):
    layer, x, state = random_layer(cell, (3, 2, 8, 6, 5, 8, 7))
    for parameter in layer.parameters():
        parameter.data *= 0.4  # larger, an attended input of full size makes differences grow from step to step
    expected = layer(x, state).detach()
    found = layer.float()(x.float(), tuple(part.float() for part in state)).detach()
    assert found.dtype == torch.float32
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_bfloat16_stays_near_float64(cell):
    torch.manual_seed(0)
    layer = RecurrentLayer(cell, 6, 5)
    x = torch.randn(2, 4, 6, 8, 7)
    expected = layer.double()(x.double()).detach()
    with torch.autocast("cpu", torch.bfloat16):
        found, (_, c) = layer.float()(x, return_state=True)
    assert (found - expected).abs().max() <= 2e-2 * expected.abs().max()
    # What adds up from step to step is never rounded to 8 bits.
    assert found.dtype == c.dtype == torch.float32


@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_every_gradient_in_float32_stays_with_float64(cell):
    """One weight at a time: in a sum over all of them the head's would hide a cell's."""
    layer, x, state = random_layer(cell, (3, 2, 4, 3, 4, 5, 6))
    for parameter in layer.parameters():
        parameter.data *= 0.4
    target = torch.randn(2, 4, 4, 5, 6, generator=torch.Generator().manual_seed(1))

    def gradients():
        given = [x.to(dtype).requires_grad_(), *(part.to(dtype).requires_grad_() for part in state)]
        hidden, (_, c) = layer.to(dtype)(given[0], tuple(given[1:]), return_state=True)
        score = (hidden * target).sum() + c.sum()
        # A linear cell does not use h.
        return torch.autograd.grad(score, [*given, *layer.parameters()], allow_unused=True, materialize_grads=True)

    dtype = torch.float64
    expected = gradients()
    dtype = torch.float32
    names = ["x", "h", "c", *(name for name, _ in layer.named_parameters())]
    for name, found, wanted in zip(names, gradients(), expected, strict=True):
        assert (found - wanted).norm() <= 1e-5 * wanted.norm(), name


def test_an_input_that_attention_makes_small_keeps_its_digits():
    """Over a large map what (b) lets through is thousands of times smaller than X, and so are its states."""
    torch.manual_seed(0)
    layer, x = RecurrentLayer("b", 3, 4), torch.randn(1, 3, 3, 56, 56)
    found, expected = layer(x).detach(), layer.double()(x.double()).detach()
    assert expected.abs().max() < 1e-2
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("given_state", [True, False])
@pytest.mark.parametrize("cell", ROWS.values(), ids=ROWS)
def test_gradients_are_those_of_finite_differences(cell, given_state):
    layer, x, state = random_layer(cell, (3, 2, 3, 2, 2, 3, 2))
    names, parameters = zip(*layer.named_parameters(), strict=True)
    parameters = [parameter.detach().mul(0.3).requires_grad_() for parameter in parameters]
    state = [part.requires_grad_() for part in state] if given_state else []

    def outputs(x, *rest):
        weights = dict(zip(names, rest[len(state) :], strict=True))
        arguments = (x, tuple(rest[: len(state)]) or None, True)
        hidden, (h, c) = torch.func.functional_call(layer, weights, arguments)
        return hidden, h, c

    # A step in a random direction for each input: the whole Jacobian would take a minute for every cell.
    assert torch.autograd.gradcheck(outputs, (x.requires_grad_(), *state, *parameters), fast_mode=True)


@pytest.mark.parametrize("cell", ["a", "c", "convlstm"])
def test_nothing_asks_for_the_gradient_of_the_clip(cell):
    layer = RecurrentLayer(cell, 3, 4)
    x = torch.randn(1, 2, 3, 5, 5)
    layer(x).sum().backward()
    assert x.grad is None
    assert all(parameter.grad is not None for parameter in layer.parameters())


def test_input_attention_sums_to_one():
    layer, x, _ = random_layer("b", (3, 2, 4, 3, 5, 7, 6))
    with record(layer, "attention", "x_attended") as recording:
        layer(x)
    assert recording["attention"].shape == (2, 4, 1, 7, 6)
    torch.testing.assert_close(recording["attention"].sum((2, 3, 4)), torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(recording["x_attended"], recording["attention"] * x)


@pytest.mark.parametrize(("cell", "gate"), [("c", "i"), ("d", "o")])
def test_attention_as_a_gate_peaks_at_exactly_one_in_every_channel(cell, gate):
    layer, x, _ = random_layer(cell, (3, 2, 4, 3, 5, 7, 6))
    with record(layer) as recording:
        layer.float()(x.float())
    assert torch.equal(recording[gate].amax((3, 4)), torch.ones(2, 4, 5))
    assert recording[gate].amin() >= 0
    assert torch.equal(recording["attention"], recording[gate])


@pytest.mark.parametrize("attend", [sum_to_one, peak_at_one])
def test_scores_of_ten_thousand_neither_overflow_nor_lose_their_gradient(attend):
    z = torch.randn(1, 1, 4, 5) * 1e4
    z.requires_grad_()
    attention = attend(z)
    (attention * torch.randn_like(attention)).sum().backward()
    assert attention.isfinite().all() and z.grad.isfinite().all()
    assert attention.max() == 1


@pytest.mark.parametrize("slow", [True, False])
def test_the_quick_tanh_is_the_tanh(monkeypatch, slow):
    monkeypatch.setattr(cells, "mkl_is_slow", lambda: slow)
    x = torch.linspace(-20, 20, 4001).requires_grad_()
    y = quick_tanh(x)
    assert (y.grad_fn.name() == "_QuickTanhBackward") == slow
    assert (y - x.double().tanh()).abs().max() <= 2e-7
    (slope,) = torch.autograd.grad(y.sum(), x)
    expected = 1 - x.double().tanh() ** 2
    assert (slope - expected).abs().max() <= 5e-7
    each = torch.func.vmap(torch.func.grad(quick_tanh))(x.detach())
    assert (each - expected).abs().max() <= 5e-7


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS)
def test_a_layer_is_the_same_where_mkl_is_slow(monkeypatch, cell):
    torch.manual_seed(0)
    layer, x = RecurrentLayer(cell, 256, 256), torch.randn(1, 2, 256, 24, 22)
    hidden = layer(x)
    with record(layer) as plain:
        layer(x)
    for module in (cells, convolutions):
        monkeypatch.setattr(module, "mkl_is_slow", lambda: True)
    found = layer(x)
    with record(layer) as recording:
        assert torch.equal(layer(x), found)
    torch.testing.assert_close(found, hidden, rtol=1e-5, atol=1e-6)
    for name in recording:
        torch.testing.assert_close(recording[name], plain[name], rtol=1e-5, atol=1e-6, msg=name)
    with intervene(layer, {"g": plain["g"]}), record(layer, "c") as changed:
        layer(x)
    torch.testing.assert_close(changed["c"], plain["c"], rtol=1e-5, atol=1e-6)


def test_a_row_of_ones_own_takes_one_line():
    cell = Cell(i="conv", f="pooled", o="attention", candidate="separable")
    layer = RecurrentLayer(cell, 6, 5)
    with record(layer) as recording:
        hidden = layer(torch.randn(2, 3, 6, 8, 9))
    assert hidden.shape == (2, 3, 5, 8, 9)
    assert recording["i"].shape == (2, 3, 5, 8, 9)
    assert recording["f"].shape == (2, 3, 5)
    assert recording["o"].shape == recording["attention"].shape == (2, 3, 5, 8, 9)


def test_the_study_has_every_choice_of_gates_and_those_of_the_paper_among_them():
    names = ["_".join(kinds) for kinds in product(GATE_KINDS, repeat=3)]
    kinds = {name: STUDY_CELLS[name] for name in names}
    assert len(kinds) == len(set(kinds.values())) == 27
    for name, cell in kinds.items():
        assert name == f"{cell.i}_{cell.f}_{cell.o}"
        assert RecurrentLayer(name, 2, 3).cell == cell
    assert kinds["pooled_pooled_pooled"] == CELLS["a"]
    assert kinds["attention_pooled_pooled"] == CELLS["c"]
    assert kinds["pooled_pooled_attention"] == CELLS["d"]
    assert not set(STUDY_CELLS) & set(CELLS)


def test_rescaling_attention_is_rescaling_the_input():
    """A constant H W on X and none in the cell, or the other way round."""
    plain, x, state = random_layer("b", (3, 2, 4, 3, 5, 7, 6))
    rescaled = RecurrentLayer("b_rescaled", 3, 5).double()
    rescaled.load_state_dict(plain.state_dict())
    with record(rescaled, "attention", "x_attended") as recording:
        rescaled(x, state)
    torch.testing.assert_close(recording["attention"].sum((2, 3, 4)), torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(recording["x_attended"], 42 * recording["attention"] * x)


@pytest.mark.slow
def test_every_row_of_kinds_runs():
    kinds = ("conv", "pooled", "attention", "separable")
    for candidate in ("conv", "separable"):
        for attended in (False, True):
            for i in kinds:
                for f in kinds:
                    for o in kinds:
                        layer = RecurrentLayer(Cell(i, f, o, candidate, attended), 2, 3)
                        assert layer(torch.randn(1, 2, 2, 3, 4)).shape == (1, 2, 3, 3, 4)


def test_the_first_step_does_not_see_what_comes_later():
    for cell in ROWS.values():
        layer, x, _ = random_layer(cell, (3, 1, 4, 2, 3, 4, 3))
        early = layer(x)[:, :2]
        x[:, 2:] = 7
        torch.testing.assert_close(layer(x)[:, :2], early, rtol=1e-13, atol=1e-14)


def test_the_authors_gates_start_constant():
    for name, inputs in {"a": 1 / 5, "b": 1 / 6, "c": 1 / 6, "d": 1 / 6}.items():
        layer = RecurrentLayer(name, 6, 5, conventions="authors")
        assert torch.all(layer.gates["f"].input_to_state.weight == inputs)
        assert torch.all(layer.gates["f"].state_to_state.weight == 1 / 5)
        assert not layer.gates["f"].input_to_state.bias.any()
    assert torch.all(RecurrentLayer("convlstm", 6, 5, conventions="authors").gates["f"].input_to_state.bias == 1)
    assert RecurrentLayer("a", 6, 5).gates["f"].input_to_state.weight.std() > 0


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 2, 4, 5, 5), "(batch, time, 3, height, width)"),
        ((1, 0, 3, 5, 5), "none of the others 0"),
        ((0, 2, 3, 5, 5), "none of the others 0"),
    ],
)
def test_an_input_that_does_not_fit_is_named(shape, words):
    with pytest.raises(ValueError) as raised:
        RecurrentLayer("a", 3, 4)(torch.zeros(shape))
    assert words in str(raised.value) and str(shape) in str(raised.value)


def test_a_state_that_does_not_fit_is_named():
    state = (torch.zeros(1, 4, 5, 4), torch.zeros(1, 4, 5, 4))
    with pytest.raises(ValueError, match=r"state h must be \(1, 4, 5, 5\) for this x; got \(1, 4, 5, 4\)"):
        RecurrentLayer("a", 3, 4)(torch.zeros(1, 2, 3, 5, 5), state)


def test_an_unknown_cell_is_answered_with_those_there_are():
    with pytest.raises(LookupError, match="convlstm, a, b, c, d"):
        RecurrentLayer("e", 3, 4)
    with pytest.raises(ValueError, match="'conv', 'pooled', 'attention' or 'separable'"):
        replace(CELLS["a"], f="dense")
    with pytest.raises(ValueError, match="only attention on X can be rescaled"):
        replace(CELLS["a"], rescaled=True)
    with pytest.raises(ValueError, match="odd kernel_size"):
        RecurrentLayer("a", 3, 4, kernel_size=2)


@pytest.mark.parametrize(
    ("cell", "changes", "words"),
    [
        ("b", {"sees_state": "none"}, "attention on X sees the state; got input_attention and sees_state='none'"),
        ("gru", {"sees_state": "none"}, "a reset gate needs a candidate that sees the state"),
        ("min_conv", {"f": "pooled"}, "i and f of one kind with a sigmoid; got 'conv' and 'pooled'"),
        ("gru", {"minimal": True}, "i and f of one kind with a sigmoid; got None and 'conv'"),
    ],
)
def test_a_row_that_no_cell_can_be_is_refused(cell, changes, words):
    with pytest.raises(ValueError, match=words):
        replace((CELLS | STUDY_CELLS)[cell], **changes)


def step_by_step(monkeypatch, layer, *given):
    with monkeypatch.context() as patch:
        patch.setattr(RecurrentLayer, "_takes_all_steps", lambda *_: False)
        return layer(*given)


@pytest.mark.parametrize("recur", [scans.chain, scans.scan])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 8, 13])
@pytest.mark.parametrize("given_state", [True, False])
def test_a_recurrence_in_parallel_is_the_loop_with_its_gradients(recur, num_steps, given_state):
    rng = torch.Generator().manual_seed(0)
    f = torch.rand(num_steps, 2, 3, 1, 1, generator=rng, dtype=torch.float64)
    f[num_steps // 2] = 0  # all is forgotten, of which no logarithm can be taken
    written = torch.randn(num_steps, 2, 3, 4, 5, generator=rng, dtype=torch.float64)
    c = torch.randn(2, 3, 4, 5, generator=rng, dtype=torch.float64) if given_state else None
    expected, last = np.zeros(written.shape), np.zeros((2, 3, 4, 5)) if c is None else c.numpy()
    for step in range(num_steps):
        for clip, channel, row, column in np.ndindex(2, 3, 4, 5):
            here = (clip, channel, row, column)
            kept = float(f[step, clip, channel, 0, 0]) * last[here]
            expected[step][here] = kept + float(written[step][here])
        last = expected[step]
    np.testing.assert_allclose(recur(f, written, c), expected, rtol=1e-12, atol=1e-14)
    inputs = [part.requires_grad_() for part in (f, written, c) if part is not None]
    assert torch.autograd.gradcheck(recur, inputs, fast_mode=True)


@pytest.mark.parametrize("recur", [scans.chain, scans.scan])
@pytest.mark.parametrize("cell", LINEAR.values(), ids=LINEAR)
def test_a_linear_cell_at_once_is_what_it_is_step_by_step(monkeypatch, cell, recur):
    monkeypatch.setattr("gatescope.models.recurrent.recurrence", recur)
    torch.manual_seed(0)
    layer, x = RecurrentLayer(cell, 6, 5), torch.randn(2, 11, 6, 8, 7)
    state = (torch.randn(2, 5, 8, 7), torch.randn(2, 5, 8, 7))
    for given in ((x,), (x, state)):
        loop, (h, c) = step_by_step(monkeypatch, layer, *given, *[None] * (2 - len(given)), True)
        found, ends = layer(*given, *[None] * (2 - len(given)), True)
        torch.testing.assert_close(found, loop, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(ends, (h, c), rtol=1e-5, atol=1e-6)
        assert found.shape == loop.shape
        for (name, parameter), expected in zip(
            layer.named_parameters(), torch.autograd.grad(loop.square().sum(), layer.parameters()), strict=True
        ):
            (gradient,) = torch.autograd.grad(found.square().sum(), parameter, retain_graph=True)
            assert (gradient - expected).norm() <= 1e-5 * expected.norm(), name


@pytest.mark.parametrize("cell", LINEAR.values(), ids=LINEAR)
def test_a_linear_cell_is_recorded_and_changed_at_every_step(monkeypatch, cell):
    layer, x, _ = random_layer(cell, (3, 2, 4, 3, 5, 6, 7))
    with record(layer) as recording:
        assert torch.equal(layer(x), hidden := layer(x))
    with record(layer) as expected:
        step_by_step(monkeypatch, layer, x)
    for name in expected:
        torch.testing.assert_close(recording[name], expected[name], msg=name)
    torch.testing.assert_close(recording["h"], hidden)
    changed = expected["f"].roll(1, 1)
    for name, change in {"f": changed, "c": lambda c: c + 1, "g": lambda g: -g}.items():
        with intervene(layer, {name: change}):
            torch.testing.assert_close(layer(x), step_by_step(monkeypatch, layer, x), msg=name)


def test_minimal_gates_of_sums_far_below_zero_still_add_to_one():
    layer, x = RecurrentLayer("min_conv", 2, 3), torch.randn(1, 2, 2, 4, 4)
    for gate in layer.gates.values():
        torch.nn.init.constant_(gate.input_to_state.bias, -1e3)
    with record(layer, "i", "f") as recording:
        layer(x).sum().backward()
    torch.testing.assert_close(recording["i"] + recording["f"], torch.ones(1, 2, 3, 4, 4))
    assert all(parameter.grad.isfinite().all() for parameter in layer.parameters())


def test_a_gru_is_torchs_at_one_position():
    """On one position with a 1 x 1 kernel; torch's z keeps the old state, as f does here."""
    torch.manual_seed(0)
    layer, theirs = RecurrentLayer("gru", 4, 3, kernel_size=1), torch.nn.GRU(4, 3, batch_first=True)
    order = [layer.gates["r"], layer.gates["f"], layer.candidate]  # r z n of torch
    with torch.no_grad():
        for side, name in (("input_to_state", "ih"), ("state_to_state", "hh")):
            getattr(theirs, f"weight_{name}_l0").copy_(torch.cat([getattr(p, side).weight[:, :, 0, 0] for p in order]))
        theirs.bias_ih_l0.copy_(torch.cat([part.input_to_state.bias.normal_() for part in order]))
        theirs.bias_hh_l0.zero_()
    x = torch.randn(2, 5, 4)
    torch.testing.assert_close(layer(x[..., None, None])[..., 0, 0], theirs(x)[0])


def test_nan_in_one_clip_stays_in_that_clip():
    for cell in ROWS.values():
        layer, x, _ = random_layer(cell, (3, 2, 2, 2, 3, 4, 3))
        x[0, 0, 0, 0, 0] = torch.nan
        hidden = layer(x)
        assert hidden[0].isnan().any() and hidden[1].isfinite().all()


def test_shapes_can_be_had_without_numbers():
    with torch.device("meta"):
        hidden = RecurrentLayer("c", 3, 4)(torch.empty(2, 3, 3, 8, 9))
    assert hidden.shape == (2, 3, 4, 8, 9) and hidden.is_meta
