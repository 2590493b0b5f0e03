"""Specialised neurons as explicit loops in float64: clip by clip and neuron by neuron, from the equations alone."""

import math

import numpy as np


def convolve(x, weight, stride=1):
    """(in, T, H, W) * (out, in, kt, kh, kw) with as many zeros around as half a kernel: one sum for each output."""
    sizes = weight.shape[2:]
    steps = (1, stride, stride)
    sides = [(side - 1) // step + 1 for side, step in zip(x.shape[1:], steps, strict=True)]
    out = np.zeros((len(weight), *sides))
    for place in np.ndindex(*sides):
        for tap in np.ndindex(*sizes):
            at = [p * s + k - size // 2 for p, s, k, size in zip(place, steps, tap, sizes, strict=True)]
            if all(0 <= a < side for a, side in zip(at, x.shape[1:], strict=True)):
                out[(slice(None), *place)] += weight[(slice(None), slice(None), *tap)] @ x[(slice(None), *at)]
    return out


def normalise(clips, w, name, own, training, after):
    """Each channel by the mean and variance of the `own` clips' values; the running ones go into `after`."""
    means, variances = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    after[f"{name}.running_mean"], after[f"{name}.running_var"] = means.copy(), variances.copy()
    out = [np.zeros_like(clip) for clip in clips]
    for c in range(len(means)):
        mean, variance = means[c], variances[c]
        values = [value for clip, is_own in zip(clips, own, strict=True) if is_own for value in clip[c].ravel()]
        if training and len(values) > 1:
            mean = sum(values) / len(values)
            squares = sum((value - mean) ** 2 for value in values)
            variance = squares / len(values)
            after[f"{name}.running_mean"][c] += 0.1 * (mean - means[c])
            after[f"{name}.running_var"][c] += 0.1 * (squares / (len(values) - 1) - variances[c])
        weight, bias = (w[f"{name}.{part}"][c] if f"{name}.{part}" in w else rest for part, rest in PARTS)
        for clip, normal in zip(clips, out, strict=True):
            normal[c] = weight * (clip[c] - mean) / math.sqrt(variance + 1e-5) + bias
    return out


PARTS = (("weight", 1.0), ("bias", 0.0))


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def slow_pulse(kernel, x, mean):
    """What a 1 x 1 x 1 kernel makes of a clip, summed or averaged over all there is."""
    total, count = 0.0, 0
    for value in convolve(x, kernel).ravel():
        total, count = total + value, count + 1
    return total / count if mean else total


def slow_gate(g, kind, noise, soft):
    """b of one channel in training, from its logit and its noise."""
    if kind == "sigmoid":
        return sigmoid(g)
    alpha = max(0.0, min(1.0, 1.2 * sigmoid(g + noise) - 0.1))
    if kind == "soft" or (kind == "half" and soft):
        return alpha
    return float(g + noise > 0)


def slow_layer(w, config, clips, noise, route, after, name):
    """Z' of every clip, and what was chosen and seen; in training with noise, in evaluation with None."""
    training, num_neurons = noise is not None, config.num_neurons
    seen = clips
    if config.centre:
        pooled = [np.array([[channel.mean()] for channel in clip]) for clip in clips]
        centred = normalise(pooled, w, f"{name}.centre", [True] * len(clips), training, after)
        seen = [vector[:, :, None, None] for vector in centred]
    neurons = [{k: w[k] for k in w if k.startswith(f"{name}.neurons.{i}.")} for i in range(num_neurons)]
    neurons = [{k.removeprefix(f"{name}.neurons.{i}."): v for k, v in n.items()} for i, n in enumerate(neurons)]
    pulses = np.array([[slow_pulse(n["scoring"], x, config.pulse == "mean") for n in neurons] for x in seen])
    choice = np.zeros_like(pulses)
    for n in range(len(clips)):
        drawn = pulses[n] + noise["gumbel"][n] if training and route is None else pulses[n]
        if config.router == "soft":
            powers = [math.exp((value - max(drawn)) / (config.tau if training else 1)) for value in drawn]
            choice[n] = np.array(powers) / sum(powers)
        elif config.router == "all":
            choice[n] = 1 / num_neurons
        else:
            choice[n, int(np.argmax(drawn)) if route is None else route[n]] = 1
    out = [np.zeros_like(clip) for clip in clips]
    quantities = {"pulses": pulses, "choice": choice}
    for i, neuron in enumerate(neurons):
        own = choice[:, i] > 0
        b = np.zeros((len(clips), config.channels))
        for n, c in np.ndindex(b.shape):
            g = neuron["gates"][c]
            if config.gates != "learned":
                b[n, c] = config.gates == "temporal"
            elif training:
                b[n, c] = slow_gate(g, config.semhash, noise["gates"][n, c], noise["soft"][n])
            else:
                b[n, c] = sigmoid(g) if config.semhash == "sigmoid" else g > 0
        x_s = [(1 - gate[:, None, None, None]) * clip for gate, clip in zip(b, clips, strict=True)]
        x_t = [gate[:, None, None, None] * clip for gate, clip in zip(b, clips, strict=True)]
        if config.gates in ("both", "conv3d"):
            x_s = x_t = clips
        z = [np.zeros_like(clip) for clip in clips]
        for part, given in (("spatial", x_s), ("temporal", x_t)):
            if part in neuron:
                maps = [convolve(x, neuron[part]) for x in given]
                norm = f"{name}.neurons.{i}.norm_{part[0]}"
                maps = [relu(x) for x in normalise(maps, w, norm, own, training, after)]
                z = [before + x for before, x in zip(z, maps, strict=True)]
                quantities[f"z_{part[0]}", i] = maps
        quantities["gates", i] = b
        for n, clip in enumerate(z):
            out[n] += choice[n, i] * convolve(clip, neuron["fusion"])
    return out, quantities


def slow_network(state, config, clips, noise=None, route=None):
    """Logits, each layer's quantities, and the running statistics afterwards.

    `noise` has in training for each layer `gumbel` (clips, neurons), `gates` (clips, channels) and whether a clip's
    gates are `soft`.
    """
    w = {key: np.asarray(value, np.float64) for key, value in state.items()}
    after, layers = {}, []
    x = list(np.asarray(clips, np.float64))
    if config.backbone == "small":
        maps = [convolve(clip, w["backbone.0.weight"], stride=2) for clip in x]
        x = [relu(clip) for clip in normalise(maps, w, "backbone.1", [True] * len(x), noise is not None, after)]
    z = x
    for j in range(config.num_layers):
        drawn = None if noise is None else noise[j]
        z, quantities = slow_layer(w, config, z, drawn, route, after, f"dsts.layer{j + 1}")
        layers.append(quantities)
    pooled = [np.array([channel.mean() for channel in before + added]) for before, added in zip(x, z, strict=True)]
    return np.array([w["head.weight"] @ vector + w["head.bias"] for vector in pooled]), layers, after
