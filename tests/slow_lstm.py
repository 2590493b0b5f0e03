"""The six equations of an LSTM with peepholes as explicit loops in float64: one unit, one position at a time."""

import math

import numpy as np

from slow_cells import convolve


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def slow_lstm(weights, x, h, c):
    """Every quantity of every step of one sequence (T, D), from an LSTM's state dict."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    num_hidden = len(h)
    peepholes = w.get("peepholes", np.zeros((3, num_hidden)))
    steps = []
    for x_t in np.asarray(x, np.float64):
        now = {name: np.zeros(num_hidden) for name in "ifgcoh"}
        for n in range(num_hidden):
            total = {}
            for place, gate in enumerate("ifgo"):
                row = place * num_hidden + n
                total[gate] = w["input_to_state.bias"][row]
                for m in range(len(x_t)):
                    total[gate] += w["input_to_state.weight"][row, m] * x_t[m]
                for m in range(num_hidden):
                    total[gate] += w["state_to_state.weight"][row, m] * h[m]
            now["i"][n] = sigmoid(total["i"] + peepholes[0, n] * c[n])
            now["f"][n] = sigmoid(total["f"] + peepholes[1, n] * c[n])
            now["g"][n] = math.tanh(total["g"])
            now["c"][n] = now["f"][n] * c[n] + now["i"][n] * now["g"][n]
            now["o"][n] = sigmoid(total["o"] + peepholes[2, n] * now["c"][n])
            now["h"][n] = now["o"][n] * math.tanh(now["c"][n])
        h, c = now["h"], now["c"]
        steps.append(now)
    return {name: np.stack([step[name] for step in steps]) for name in steps[0]}


def wrapped(x, kernel):
    """`convolve` on a torus: the map is laid side by side with itself, and the middle kept."""
    height, width = x.shape[1:]
    tiled = np.tile(x, (1, 3, 3))
    return convolve(tiled, kernel)[:, height : 2 * height, width : 2 * width]


def slow_convlstm(weights, x, h, c, circular=False):
    """Every quantity of every step of one clip (T, C, H, W), from a PeepholeConvLSTM's state dict."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    product = wrapped if circular else convolve
    num_hidden, height, width = h.shape
    peepholes = np.broadcast_to(w.get("peepholes", np.zeros((3, 1, 1, 1))), (3, num_hidden, height, width))
    steps = []
    for x_t in np.asarray(x, np.float64):
        given = product(x_t, w["input_to_state.weight"]) if len(x_t) else 0
        sums = given + product(h, w["state_to_state.weight"]) + w["input_to_state.bias"][:, None, None]
        now = {name: np.zeros(h.shape) for name in "ifgcoh"}
        for n, row, column in np.ndindex(h.shape):
            at = n, row, column
            i, f, g, o = (sums[place * num_hidden + n, row, column] for place in range(4))
            now["i"][at] = sigmoid(i + peepholes[0][at] * c[at])
            now["f"][at] = sigmoid(f + peepholes[1][at] * c[at])
            now["g"][at] = math.tanh(g)
            now["c"][at] = now["f"][at] * c[at] + now["i"][at] * now["g"][at]
            now["o"][at] = sigmoid(o + peepholes[2][at] * now["c"][at])
            now["h"][at] = now["o"][at] * math.tanh(now["c"][at])
        h, c = now["h"], now["c"]
        steps.append(now)
    return {name: np.stack([step[name] for step in steps]) for name in steps[0]}


def slow_rnn(weights, x, h, activation=math.tanh):
    """net and h of every step of one sequence (T, D), from an RNN's state dict."""
    w = {name: np.asarray(value, np.float64) for name, value in weights.items()}
    nets, hidden = [], []
    for x_t in np.asarray(x, np.float64):
        net = [
            w["input_to_state.bias"][n]
            + sum(w["input_to_state.weight"][n, m] * x_t[m] for m in range(len(x_t)))
            + sum(w["state_to_state.weight"][n, m] * h[m] for m in range(len(h)))
            for n in range(len(h))
        ]
        h = np.array([activation(value) for value in net])
        nets.append(net)
        hidden.append(h)
    return {"net": np.array(nets), "h": np.stack(hidden)}
