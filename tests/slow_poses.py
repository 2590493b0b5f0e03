"""The pose machine as explicit loops in float64: one clip, written from the equations alone."""

import numpy as np

from slow_lstm import slow_lstm


def convolve(x, weight, bias, stride, padding):
    """(in, H, W) * (out, in, K, K) with zeros around: one sum for each output value."""
    num_out, num_in, size, _ = weight.shape
    rows, columns = ((side + 2 * padding - size) // stride + 1 for side in x.shape[1:])
    out = np.zeros((num_out, rows, columns))
    for n in range(num_out):
        for row in range(rows):
            for column in range(columns):
                total = bias[n]
                for m in range(num_in):
                    for u in range(size):
                        for v in range(size):
                            y, z = row * stride + u - padding, column * stride + v - padding
                            if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                                total += weight[n, m, u, v] * x[m, y, z]
                out[n, row, column] = total
    return out


def pool(x, ceil):
    """The greatest of every 2 x 2 positions; what is left over at the edge counts with `ceil`."""
    rows, columns = (-(-side // 2) if ceil else side // 2 for side in x.shape[1:])
    out = np.zeros((len(x), rows, columns))
    for n in range(len(x)):
        for row in range(rows):
            for column in range(columns):
                out[n, row, column] = x[n, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].max()
    return out


def relu(x):
    return np.maximum(x, 0)


def slow_trunk(weights, layers, frame):
    """The maps F of one frame; `weights` are the convolutions' (weight, bias) in order."""
    weights = iter(weights)
    for layer in layers:
        frame = pool(frame, ceil=False) if layer == "pool" else relu(convolve(frame, *next(weights), 1, 1))
    return frame


def slow_stage(w, adaption, trunk_maps, maps_before, poses_before):
    """P, a and S of every frame, from a stage's state dict `w` and the layers of its feature adaption.

    `maps_before` and `poses_before` are None where the stage has no such input.
    """
    w = {name: np.asarray(value, np.float64) for name, value in w.items()}
    names = sorted({name.rpartition(".")[0] for name in w}, key=lambda name: [name.split(".")[0], len(name), name])
    pose_2d, adapting = ([n for n in names if n.startswith(part)] for part in ("pose_2d", "adaption"))
    every_map, vectors = [], []
    for t, maps in enumerate(trunk_maps):
        if maps_before is not None:
            maps = np.concatenate([maps, maps_before[t]])
        for name in pose_2d:
            maps = relu(convolve(maps, w[f"{name}.weight"], w[f"{name}.bias"], 1, 1))
        every_map.append(maps)
        convolutions = iter(adapting[:-1])
        for layer, _, stride, padding in adaption:
            if layer == "pool":
                maps = pool(maps, ceil=True)
            else:
                name = next(convolutions)
                maps = relu(convolve(maps, w[f"{name}.weight"], w[f"{name}.bias"], stride, padding))
        fc_1 = adapting[-1]
        vectors.append(relu(w[f"{fc_1}.weight"] @ maps.ravel() + w[f"{fc_1}.bias"]))
    adapted = np.stack(vectors)
    inputs = adapted if poses_before is None else np.concatenate([adapted, poses_before], 1)
    if any(name.startswith("lstm") for name in w):
        lstm = {name.removeprefix("lstm."): value for name, value in w.items() if name.startswith("lstm.")}
        num_hidden = lstm["state_to_state.weight"].shape[1]
        hidden = slow_lstm(lstm, inputs, np.zeros(num_hidden), np.zeros(num_hidden))["h"]
    else:
        first, second = (n for n in names if n.startswith("frame_mlp"))
        inner = [relu(w[f"{first}.weight"] @ x + w[f"{first}.bias"]) for x in inputs]
        hidden = np.stack([np.tanh(w[f"{second}.weight"] @ x + w[f"{second}.bias"]) for x in inner])
    poses = np.stack([w["to_pose.weight"] @ h + w["to_pose.bias"] for h in hidden])
    return np.stack(every_map), adapted, poses
