"""The cells of Zhang et al. 2018 as explicit loops in float64: slow, and written from the equations alone."""

import math

import numpy as np


def convolve(x, kernel):
    """(in, H, W) * (out, in, K, K) with zeros around: one sum for each output value."""
    num_out, num_in, size, _ = kernel.shape
    height, width = x.shape[1:]
    half = size // 2
    out = np.zeros((num_out, height, width))
    for n in range(num_out):
        for row in range(height):
            for column in range(width):
                for m in range(num_in):
                    for u in range(size):
                        for v in range(size):
                            y, z = row + u - half, column + v - half
                            if 0 <= y < height and 0 <= z < width:
                                out[n, row, column] += kernel[n, m, u, v] * x[m, y, z]
    return out


def convolve_separable(x, depthwise, pointwise):
    alone = np.stack([convolve(x[m : m + 1], depthwise[m : m + 1])[0] for m in range(len(x))])
    return convolve(alone, pointwise)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def hard_sigmoid(x):
    return np.minimum(np.maximum(0.2 * x + 0.5, 0), 1)


def softmax_over_positions(z):
    """Eq. 18, in which the map's largest score is taken off so that nothing overflows."""
    total = sum(math.exp(value - z.max()) for value in z.ravel())
    return np.array([[math.exp(value - z.max()) / total for value in row] for row in z[0]])[None]


def peak_per_channel(z):
    """Eqs. 22-23."""
    return np.stack(
        [np.array([[math.exp(value - channel.max()) for value in row] for row in channel]) for channel in z]
    )


def spread(gate):
    """A gate as it is multiplied: one value per channel at every position."""
    return gate[:, None, None] if gate is not None and gate.ndim == 1 else gate


class SlowLayer:
    """One clip (T, C, H, W) through a cell, with the weights of a RecurrentLayer's state dict."""

    def __init__(self, cell, weights, activation=sigmoid):
        self.cell, self.activation = cell, activation
        self.w = {name: np.asarray(value, np.float64) for name, value in weights.items()}

    def changed(self, name, value):
        """What takes the place of a gate, or of attention on X, at this step; a twin of a removal overrides it."""
        return value

    def run(self, x, h, c):
        steps = []
        for frame in x:
            quantities = self.step(np.asarray(frame, np.float64), h, c)
            h, c = quantities["h"], quantities["c"]
            steps.append(quantities)
        return {name: np.stack([step[name] for step in steps]) for name in steps[0]}

    def step(self, x, h, c):
        named = {}
        if self.cell.input_attention:
            hidden = np.tanh(self.separable("attention", x, h))
            named["z"] = convolve(hidden, self.w["attention.score.weight"])  # (17)
            named["attention"] = self.changed("attention", softmax_over_positions(named["z"]))  # (18)
            scale = x[0].size if self.cell.rescaled else 1
            x = named["x_attended"] = scale * named["attention"] * x  # (19)
        if "pooled" in self.cell.gates.values():
            named["x_pooled"] = np.array([channel.sum() / channel.size for channel in x])  # (8)
            named["h_pooled"] = np.array([channel.sum() / channel.size for channel in h])  # (9)
        for name, kind in self.cell.gates.items():
            if kind == "conv":
                named[name] = self.activation(self.dense(f"gates.{name}", x, h))  # (1) (2) (3)
            elif kind == "separable":
                named[name] = self.activation(self.separable(f"gates.{name}", x, h))  # (1) (2) (3) with kernels of (13)
            elif kind == "pooled":
                total = self.w[f"gates.{name}.input_to_state.weight"] @ named["x_pooled"]
                if self.cell.sees_state == "all":
                    total = total + self.w[f"gates.{name}.state_to_state.weight"] @ named["h_pooled"]
                total = total + self.w[f"gates.{name}.input_to_state.bias"]
                named[name] = self.activation(total)  # (10) (11) (12)
            else:
                score = (f"gates.{name}.score.depthwise.weight", f"gates.{name}.score.pointwise.weight")
                hidden = np.tanh(self.separable(f"gates.{name}", x, h))
                z = convolve_separable(hidden, *(self.w[part] for part in score))  # (21)
                named[name] = peak_per_channel(z)  # (22) (23)
            named[name] = self.changed(name, named[name])
        if self.cell.minimal:
            both = named["i"] + named["f"]
            named["i"], named["f"] = named["i"] / both, named["f"] / both  # (M1)
        if self.cell.i is None:
            named["i"] = 1 - named["f"]  # (M2)
        path = self.dense if self.cell.candidate == "conv" else self.separable
        r, i, f, o = (spread(named.get(name)) for name in "rifo")
        total = path("candidate", x, h, r)  # (M3)
        named["g"] = total if self.cell.minimal else np.tanh(total)  # (4) (13) (M1)
        named["c"] = f * c + i * named["g"]  # (5) (14)
        named["h"] = named["c"] if o is None else o * np.tanh(named["c"])  # (6) (15) (M4)
        if self.cell.sees_state != "all":
            named.pop("h_pooled", None)
        return named

    def dense(self, part, x, h, r=None):
        total = convolve(x, self.w[f"{part}.input_to_state.weight"])
        if f"{part}.state_to_state.weight" in self.w:
            own = convolve(h, self.w[f"{part}.state_to_state.weight"])
            total = total + (own if r is None else r * own)
        return total + self.w[f"{part}.input_to_state.bias"][:, None, None]

    def separable(self, part, x, h, r=None):
        def path(side, values):
            kernels = (f"{part}.{side}.depthwise.weight", f"{part}.{side}.pointwise.weight")
            return convolve_separable(values, *(self.w[kernel] for kernel in kernels))

        total = path("input_to_state", x)
        if f"{part}.state_to_state.depthwise.weight" in self.w:
            own = path("state_to_state", h)
            total = total + (own if r is None else r * own)
        return total + self.w[f"{part}.input_to_state.pointwise.bias"][:, None, None]
