"""The inner loops of the renderer, compiled: skinning, z-buffered triangles, shading, exact flow.

Screen points are (x px, y px, depth mm); the centre of the first pixel is (0.5, 0.5). A triangle's barycentric
coordinates are kept as the perspective-correct weights of its first two corners.
"""

import numba
import numpy as np

NOTHING = -1  # no triangle covers the pixel
EDGE = np.float32(-1e-4)  # a centre on an edge belongs to both triangles, so that rounding leaves no gap


def compiled(function):
    """Compile a function; keep the result on disk where there is a place for it."""
    settings = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # neither this folder nor the home folder can be written: each process compiles anew
        return numba.njit(**settings)(function)


@compiled
def skin(vertices, normals, bones, weights, chosen, transforms, posed, turned):
    """Fill `posed` and unit `turned` (time, vertices, 3) at the chosen vertices, under (time, bones, 3, 4)."""
    for t in range(transforms.shape[0]):
        for v in chosen:
            length = np.float32(0.0)
            for i in range(3):
                a = b = c = d = np.float32(0.0)
                for k in range(4):
                    weight = weights[v, k]
                    # Bones come heaviest first; most vertices follow one alone.
                    if weight == 0.0:
                        break
                    bone = bones[v, k]
                    a += weight * transforms[t, bone, i, 0]
                    b += weight * transforms[t, bone, i, 1]
                    c += weight * transforms[t, bone, i, 2]
                    d += weight * transforms[t, bone, i, 3]
                posed[t, v, i] = a * vertices[v, 0] + b * vertices[v, 1] + c * vertices[v, 2] + d
                turned[t, v, i] = a * normals[v, 0] + b * normals[v, 1] + c * normals[v, 2]
                length += turned[t, v, i] ** 2
            length = np.float32(1.0) / np.sqrt(max(length, np.float32(1e-12)))
            for i in range(3):
                turned[t, v, i] *= length


@compiled
def project(points, chosen, position, axes, focal_px, centre_px, screen):
    """Fill `screen` (time, points, 3) at the chosen points: x px, y px, depth mm."""
    for t in range(points.shape[0]):
        for n in chosen:
            x = points[t, n, 0] - position[0]
            y = points[t, n, 1] - position[1]
            z = points[t, n, 2] - position[2]
            depth = axes[2, 0] * x + axes[2, 1] * y + axes[2, 2] * z
            scale = focal_px / max(depth, np.float32(1.0))
            screen[t, n, 0] = (axes[0, 0] * x + axes[0, 1] * y + axes[0, 2] * z) * scale + centre_px
            screen[t, n, 1] = (axes[1, 0] * x + axes[1, 1] * y + axes[1, 2] * z) * scale + centre_px
            screen[t, n, 2] = depth


@compiled
def rasterise(screen, triangles, start, stop, shifts, depth, covering, corner_weights):
    """Draw triangles start to stop into the nearest surface so far, for each of several samples a pixel.

    `depth` (samples, height, width) holds the nearest depth (inf where nothing is), `covering` its triangle or
    NOTHING. A pixel is sampled at its centre moved by `shifts` (samples, 2) px. Triangles seen from behind are
    left out.
    """
    num_samples, height, width = depth.shape
    one = np.float32(1.0)
    for n in range(start, stop):
        i, j, k = triangles[n, 0], triangles[n, 1], triangles[n, 2]
        x0, y0, z0 = screen[i, 0], screen[i, 1], screen[i, 2]
        x1, y1, z1 = screen[j, 0], screen[j, 1], screen[j, 2]
        x2, y2, z2 = screen[k, 0], screen[k, 1], screen[k, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        # y points down on the screen, so an outward triangle seen from its front turns clockwise.
        if area >= 0.0 or min(z0, z1, z2) < 20.0:
            continue
        low_x, high_x = min(x0, x1, x2), max(x0, x1, x2)
        low_y, high_y = min(y0, y1, y2), max(y0, y1, y2)
        if high_x < -1.0 or high_y < -1.0 or low_x > width + 1 or low_y > height + 1:
            continue
        inverse_area = one / area
        inverse_z0, inverse_z1, inverse_z2 = one / z0, one / z1, one / z2
        for sample in range(num_samples):
            at_x = shifts[sample, 0] + np.float32(0.5)
            at_y = shifts[sample, 1] + np.float32(0.5)
            left, right = max(0, int(np.ceil(low_x - at_x))), min(width - 1, int(np.floor(high_x - at_x)))
            top, bottom = max(0, int(np.ceil(low_y - at_y))), min(height - 1, int(np.floor(high_y - at_y)))
            for row in range(top, bottom + 1):
                y = np.float32(row) + at_y
                for column in range(left, right + 1):
                    x = np.float32(column) + at_x
                    w0 = ((x1 - x) * (y2 - y) - (x2 - x) * (y1 - y)) * inverse_area
                    w1 = ((x2 - x) * (y0 - y) - (x0 - x) * (y2 - y)) * inverse_area
                    w2 = one - w0 - w1
                    if w0 < EDGE or w1 < EDGE or w2 < EDGE:
                        continue
                    a, b = w0 * inverse_z0, w1 * inverse_z1
                    z = one / (a + b + w2 * inverse_z2)
                    if z < depth[sample, row, column]:
                        depth[sample, row, column] = z
                        covering[sample, row, column] = n
                        corner_weights[sample, row, column, 0] = a * z
                        corner_weights[sample, row, column, 1] = b * z


@compiled
def _mix(values, i, j, k, a, b, c):
    """Interpolate a vertex attribute (vertices, 3) at a point of a triangle."""
    x = a * values[i, 0] + b * values[j, 0] + c * values[k, 0]
    y = a * values[i, 1] + b * values[j, 1] + c * values[k, 1]
    z = a * values[i, 2] + b * values[j, 2] + c * values[k, 2]
    return x, y, z


@compiled
def _unit(x, y, z):
    scale = np.float32(1.0) / np.sqrt(max(x * x + y * y + z * z, np.float32(1e-12)))
    return x * scale, y * scale, z * scale


@compiled
def _lit(x, y, z, to_light_map, light_map, lift_mm):
    """Return the fraction of the key light that reaches a point, from the four nearest cells of its depth map."""
    u = to_light_map[0, 0] * x + to_light_map[0, 1] * y + to_light_map[0, 2] * z + to_light_map[0, 3]
    v = to_light_map[1, 0] * x + to_light_map[1, 1] * y + to_light_map[1, 2] * z + to_light_map[1, 3]
    u, v = u - np.float32(0.5), v - np.float32(0.5)
    size = light_map.shape[0]
    if u < 0 or v < 0 or u >= size - 1 or v >= size - 1:
        return np.float32(1.0)
    along = to_light_map[2, 0] * x + to_light_map[2, 1] * y + to_light_map[2, 2] * z + to_light_map[2, 3] - lift_mm
    column, row = int(u), int(v)
    u, v = u - np.float32(column), v - np.float32(row)
    above = np.float32(light_map[row, column] > along)
    above += u * (np.float32(light_map[row, column + 1] > along) - above)
    below = np.float32(light_map[row + 1, column] > along)
    below += u * (np.float32(light_map[row + 1, column + 1] > along) - below)
    return above + v * (below - above)


@compiled
def _texel(box, x, y, size):
    """Return column and row of the four texels round a point of a part's texture, and the weights of the later two."""
    most = np.float32(size - 1.001)
    s = (x - box[0]) / box[2] * np.float32(size) - np.float32(0.5)
    t = (box[1] + box[3] - y) / box[3] * np.float32(size) - np.float32(0.5)
    s, t = min(max(s, np.float32(0.0)), most), min(max(t, np.float32(0.0)), most)
    column, row = int(s), int(t)
    return column, row, s - np.float32(column), t - np.float32(row)


@compiled
def shade(
    image, background, covering, corner_weights, triangles, parts, posed, normals, texture_points,
    textures, texture_boxes, gloss, eye, light, light_colour, sky, ground, to_light_map, light_map, lift_mm,
):  # fmt: skip
    """Add the linear colour of every pixel to `image` (height, width, 3).

    Lambert light wrapped round the edge (skin and cloth scatter), a hemisphere of ambient light, a soft highlight,
    and the key light's cast shadows from `light_map` (depth along the light, by parallel projection).
    """
    zero, one, wrap = np.float32(0.0), np.float32(1.0), np.float32(0.25)
    for row in range(covering.shape[0]):
        for column in range(covering.shape[1]):
            n = covering[row, column]
            if n == NOTHING:
                for channel in range(3):
                    image[row, column, channel] += background[row, column, channel]
                continue
            i, j, k, part = triangles[n, 0], triangles[n, 1], triangles[n, 2], parts[n]
            a, b = corner_weights[row, column, 0], corner_weights[row, column, 1]
            c = one - a - b
            x, y, z = _mix(posed, i, j, k, a, b, c)
            p, q, r = _mix(normals, i, j, k, a, b, c)
            p, q, r = _unit(p, q, r)
            view_x, view_y, view_z = _unit(eye[0] - x, eye[1] - y, eye[2] - z)
            facing = p * light[0] + q * light[1] + r * light[2]
            towards = max(p * view_x + q * view_y + r * view_z, zero)

            # Where light grazes, the map's own cells and the flat triangles would draw a ragged edge, and a point on
            # the surface itself would be speckled: shadows fade there, and are looked up a little off the surface.
            lit = one
            strength = min((facing - np.float32(0.05)) * np.float32(4.0), one)
            shine = zero
            if strength > zero:
                off_x, off_y, off_z = x + lift_mm * p, y + lift_mm * q, z + lift_mm * r
                lit -= strength * (one - _lit(off_x, off_y, off_z, to_light_map, light_map, lift_mm))
                half_x, half_y, half_z = _unit(light[0] + view_x, light[1] + view_y, light[2] + view_z)
                shine = max(p * half_x + q * half_y + r * half_z, zero)
                shine *= shine * shine
                shine *= shine
                shine *= shine
                shine *= shine * gloss[part] * lit  # the 24th power: skin, not plastic

            s, t, front = _mix(texture_points, i, j, k, a, b, c)
            texture = textures[part, 0 if front >= 0 else 1]
            left, top, s, t = _texel(texture_boxes[part], s, t, texture.shape[0])
            direct = max((facing + wrap) / (one + wrap), zero) * lit
            up = np.float32(0.5) + np.float32(0.5) * q
            # Surfaces seen edge-on receive less ambient light from the front: a cheap contact shade.
            crease = np.float32(0.72) + np.float32(0.28) * towards
            for channel in range(3):
                upper = texture[top, left, channel]
                upper += s * (texture[top, left + 1, channel] - upper)
                lower = texture[top + 1, left, channel]
                lower += s * (texture[top + 1, left + 1, channel] - lower)
                albedo = upper + t * (lower - upper)
                ambient = (ground[channel] + (sky[channel] - ground[channel]) * up) * crease
                arriving = ambient + light_colour[channel] * direct
                image[row, column, channel] += albedo * arriving + shine * light_colour[channel]


@compiled
def displacement(covering, corner_weights, triangles, screen_next, flow):
    """Fill `flow` (height, width, 2) with the motion of the surface point at each pixel's centre, px; 0 on the wall."""
    height, width = covering.shape
    for row in range(height):
        for column in range(width):
            n = covering[row, column]
            if n == NOTHING:
                flow[row, column] = 0.0
                continue
            i, j, k = triangles[n, 0], triangles[n, 1], triangles[n, 2]
            a, b = corner_weights[row, column, 0], corner_weights[row, column, 1]
            c = 1.0 - a - b
            # Corner weights hold in space, so the point is found in space and projected again.
            z = a * screen_next[i, 2] + b * screen_next[j, 2] + c * screen_next[k, 2]
            for axis in range(2):
                place = (
                    a * screen_next[i, axis] * screen_next[i, 2]
                    + b * screen_next[j, axis] * screen_next[j, 2]
                    + c * screen_next[k, axis] * screen_next[k, 2]
                ) / z
                centre = (column if axis == 0 else row) + 0.5
                flow[row, column, axis] = place - centre
