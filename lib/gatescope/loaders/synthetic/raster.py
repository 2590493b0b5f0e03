"""The inner loops of the renderer, compiled: skinning, z-buffered triangles, shading, exact flow.

Screen points are (x px, y px, depth mm); the centre of the first pixel is (0.5, 0.5). A triangle's barycentric
coordinates are kept as the perspective-correct weights of its first two corners.
"""

import numba
import numpy as np

compiled = numba.njit(cache=True, nogil=True, error_model="numpy")
NOTHING = -1  # no triangle covers the pixel


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
                    if w0 < 0.0 or w1 < 0.0 or w2 < 0.0:
                        continue
                    a, b = w0 * inverse_z0, w1 * inverse_z1
                    z = one / (a + b + w2 * inverse_z2)
                    if z < depth[sample, row, column]:
                        depth[sample, row, column] = z
                        covering[sample, row, column] = n
                        corner_weights[sample, row, column, 0] = a * z
                        corner_weights[sample, row, column, 1] = b * z


@compiled
def shade(
    image, background, covering, corner_weights, triangles, parts, posed, normals, texture_points,
    textures, texture_boxes, gloss, eye, light, light_colour, sky, ground, to_light_map, light_map, lift_mm,
):  # fmt: skip
    """Add the linear colour of every pixel to `image` (height, width, 3).

    Lambert light wrapped round the edge (skin and cloth scatter), a hemisphere of ambient light, a soft highlight,
    and the key light's cast shadows from `light_map` (depth along the light, by parallel projection).
    """
    height, width = covering.shape
    size = textures.shape[2]
    map_size = light_map.shape[0]
    point = np.empty(3, np.float32)
    normal = np.empty(3, np.float32)
    view = np.empty(3, np.float32)
    for row in range(height):
        for column in range(width):
            n = covering[row, column]
            if n == NOTHING:
                for channel in range(3):
                    image[row, column, channel] += background[row, column, channel]
                continue
            i, j, k = triangles[n, 0], triangles[n, 1], triangles[n, 2]
            a, b = corner_weights[row, column, 0], corner_weights[row, column, 1]
            c = np.float32(1.0) - a - b
            length = np.float32(0.0)
            distance = np.float32(0.0)
            for axis in range(3):
                point[axis] = a * posed[i, axis] + b * posed[j, axis] + c * posed[k, axis]
                normal[axis] = a * normals[i, axis] + b * normals[j, axis] + c * normals[k, axis]
                view[axis] = eye[axis] - point[axis]
                length += normal[axis] ** 2
                distance += view[axis] ** 2
            length, distance = np.sqrt(max(length, np.float32(1e-12))), np.sqrt(distance)
            facing = np.float32(0.0)
            towards = np.float32(0.0)
            half_dot = np.float32(0.0)
            half_length = np.float32(0.0)
            for axis in range(3):
                normal[axis] /= length
                view[axis] /= distance
                facing += normal[axis] * light[axis]
                towards += normal[axis] * view[axis]
                half_dot += normal[axis] * (light[axis] + view[axis])
                half_length += (light[axis] + view[axis]) ** 2
            half_dot = max(half_dot, np.float32(0.0)) / np.sqrt(max(half_length, np.float32(1e-12)))

            # How much of the key light arrives: four neighbouring cells of the light's depth map, blended.
            along = np.float32(0.0)
            u = to_light_map[0, 3]
            v = to_light_map[1, 3]
            for axis in range(3):
                # Looked up a little off the surface, or its own cells would speckle it with shade.
                off = point[axis] + lift_mm * normal[axis]
                u += to_light_map[0, axis] * off
                v += to_light_map[1, axis] * off
                along += to_light_map[2, axis] * off
            along += to_light_map[2, 3] - lift_mm
            u, v = u - np.float32(0.5), v - np.float32(0.5)
            lit = np.float32(1.0)
            if 0 <= u < map_size - 1 and 0 <= v < map_size - 1:
                cell_u, cell_v = int(u), int(v)
                part_u, part_v = u - cell_u, v - cell_v
                lit = np.float32(0.0)
                if light_map[cell_v, cell_u] > along:
                    lit += (1 - part_u) * (1 - part_v)
                if light_map[cell_v, cell_u + 1] > along:
                    lit += part_u * (1 - part_v)
                if light_map[cell_v + 1, cell_u] > along:
                    lit += (1 - part_u) * part_v
                if light_map[cell_v + 1, cell_u + 1] > along:
                    lit += part_u * part_v

            # Where light grazes, the map's own cells and the flat triangles would draw a ragged edge: no cast shadow.
            strength = min(
                max((facing - np.float32(0.05)) * np.float32(4.0), np.float32(0.0)), np.float32(1.0)
            )
            lit = np.float32(1.0) - strength * (np.float32(1.0) - lit)

            # The part's texture, front or back, between four texels.
            part = parts[n]
            s = a * texture_points[i, 0] + b * texture_points[j, 0] + c * texture_points[k, 0]
            t = a * texture_points[i, 1] + b * texture_points[j, 1] + c * texture_points[k, 1]
            front = a * texture_points[i, 2] + b * texture_points[j, 2] + c * texture_points[k, 2]
            side = 0 if front >= 0 else 1
            s = (s - texture_boxes[part, 0]) / texture_boxes[part, 2] * size - 0.5
            t = (texture_boxes[part, 1] + texture_boxes[part, 3] - t) / texture_boxes[part, 3] * size - 0.5
            s = min(max(s, 0.0), size - 1.001)
            t = min(max(t, 0.0), size - 1.001)
            texel_s, texel_t = int(s), int(t)
            s, t = s - texel_s, t - texel_t

            wrap = np.float32(0.25)
            diffuse = max((facing + wrap) / (1 + wrap), np.float32(0.0)) * lit
            up = np.float32(0.5) + np.float32(0.5) * normal[1]
            shine = gloss[part] * half_dot**24 * lit * (facing > 0)
            # Surfaces seen edge-on receive less ambient light from the front: a cheap contact shade.
            crease = np.float32(0.72) + np.float32(0.28) * max(towards, np.float32(0.0))
            for channel in range(3):
                albedo = (
                    textures[part, side, texel_t, texel_s, channel] * (1 - s)
                    + textures[part, side, texel_t, texel_s + 1, channel] * s
                ) * (1 - t) + (
                    textures[part, side, texel_t + 1, texel_s, channel] * (1 - s)
                    + textures[part, side, texel_t + 1, texel_s + 1, channel] * s
                ) * t
                ambient = (ground[channel] + (sky[channel] - ground[channel]) * up) * crease
                image[row, column, channel] += albedo * (ambient + light_colour[channel] * diffuse) + (
                    shine * light_colour[channel]
                )


@compiled
def displacement(covering, corner_weights, triangles, screen_next, flow):
    """Fill `flow` (height, width, 2): where the surface point at each pixel's centre goes, px; 0 on the background."""
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
