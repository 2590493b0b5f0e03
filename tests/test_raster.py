"""The compiled inner loops against slow twins in plain Python and float64."""

import numpy as np
import pytest

SIZE = 12


@pytest.fixture(scope="module")
def raster():
    from rendered_people import raster

    return raster


def random_triangles(rng, count: int):
    screen = np.column_stack([rng.uniform(-2, SIZE + 2, (3 * count, 2)), rng.uniform(300, 900, 3 * count)])
    return screen.astype(np.float32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def slow_view(screen, triangles, shift):
    """Nearest triangle and depth at each pixel, by barycentric coordinates from a 3 x 3 solve."""
    depth, covering = np.full((SIZE, SIZE), np.inf), np.full((SIZE, SIZE), -1)
    weights = np.zeros((SIZE, SIZE, 3))
    for n, corners in enumerate(triangles):
        points = screen[corners].astype(np.float64)
        (x0, y0), (x1, y1), (x2, y2) = points[:, :2]
        if (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) >= 0:
            continue
        for row in range(SIZE):
            for column in range(SIZE):
                place = [column + 0.5 + shift[0], row + 0.5 + shift[1], 1.0]
                w = np.linalg.solve(np.vstack([points[:, :2].T, np.ones(3)]), place)
                z = 1 / (w / points[:, 2]).sum()
                if (w >= 0).all() and z < depth[row, column]:
                    depth[row, column], covering[row, column] = z, n
                    weights[row, column] = w / points[:, 2] * z
    return depth, covering, weights


def fast_view(raster, screen, triangles, shifts):
    num = len(shifts)
    depth = np.full((num, SIZE, SIZE), np.inf, np.float32)
    covering = np.full((num, SIZE, SIZE), -1, np.int32)
    weights = np.zeros((num, SIZE, SIZE, 2), np.float32)
    raster.rasterise(screen, triangles, 0, len(triangles), np.asarray(shifts, np.float32), depth, covering, weights)
    return depth, covering, weights


@pytest.mark.parametrize("seed", range(4))
def test_nearest_triangle_depth_and_weights(raster, seed):
    screen, triangles = random_triangles(np.random.default_rng(seed), 14)
    shifts = [(0.0, 0.0), (0.25, -0.375)]
    depth, covering, weights = fast_view(raster, screen, triangles, shifts)
    for k, shift in enumerate(shifts):
        slow_depth, slow_covering, slow_weights = slow_view(screen, triangles, shift)
        # float32 may decide differently for a centre that lies on an edge.
        same = covering[k] == slow_covering
        assert same.mean() > 0.98 and (slow_covering >= 0).mean() > 0.1
        hit = same & (slow_covering >= 0)
        np.testing.assert_allclose(depth[k][hit], slow_depth[hit], rtol=1e-4)
        np.testing.assert_allclose(weights[k][hit], slow_weights[hit][:, :2], atol=1e-3)


def test_drawing_in_two_parts_equals_drawing_at_once(raster):
    screen, triangles = random_triangles(np.random.default_rng(9), 20)
    once = fast_view(raster, screen, triangles, [(0.0, 0.0)])
    twice = [array.copy() for array in fast_view(raster, screen, triangles[:7], [(0.0, 0.0)])]
    raster.rasterise(screen, triangles, 7, 20, np.zeros((1, 2), np.float32), *twice)
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_array_equal(a, b)


def test_skin_blends_bone_transforms(raster):
    rng = np.random.default_rng(0)
    vertices, normals = rng.normal(size=(2, 9, 3)).astype(np.float32)
    weights = np.sort(rng.dirichlet(np.ones(4), 9).astype(np.float32))[:, ::-1].copy()
    bones = rng.integers(0, 5, (9, 4)).astype(np.int32)
    transforms = rng.normal(size=(3, 5, 3, 4)).astype(np.float32)
    posed, turned = np.full((2, 3, 9, 3), 7, np.float32)
    raster.skin(vertices, normals, bones, weights, np.array([0, 2, 8]), transforms, posed, turned)
    for t in range(3):
        for v in range(9):
            if v not in (0, 2, 8):
                assert (posed[t, v] == 7).all()
                continue
            matrix = sum(weights[v, k].astype(float) * transforms[t, bones[v, k]] for k in range(4))
            np.testing.assert_allclose(posed[t, v], matrix[:, :3] @ vertices[v] + matrix[:, 3], rtol=1e-4, atol=1e-5)
            normal = matrix[:, :3] @ normals[v]
            np.testing.assert_allclose(turned[t, v], normal / np.linalg.norm(normal), rtol=1e-3, atol=1e-5)


def look(points, focal):
    return np.column_stack([focal * points[:, :2] / points[:, 2:] + SIZE / 2, points[:, 2]]).astype(np.float32)


def test_displacement_follows_the_point_in_space(raster):
    """A point of a moving triangle, found in space and projected again, is where the flow says."""
    rng = np.random.default_rng(3)
    focal, corners = 20.0, np.array([[-120.0, 110, 500], [140, 90, 620], [0, -150, 440]])
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn = np.eye(3) + 0.12 * (turn - turn.T)
    moved = corners @ turn.T + [25.0, -10, 40]
    triangles = np.array([[0, 1, 2]], np.int32)
    (ax, ay), (bx, by), (cx, cy) = look(corners, focal)[:, :2]
    if (bx - ax) * (cy - ay) - (cx - ax) * (by - ay) > 0:
        triangles = triangles[:, ::-1].copy()
    _, covering, weights = fast_view(raster, look(corners, focal), triangles, [(0.0, 0.0)])
    flow = np.empty((SIZE, SIZE, 2), np.float32)
    raster.displacement(covering[0], weights[0], triangles, look(moved, focal), flow)
    assert (covering[0] >= 0).sum() > 10
    for row, column in np.argwhere(covering[0] >= 0):
        # Where the ray through the pixel's centre meets the triangle, as a combination of its corners.
        ray = np.array([(column + 0.5 - SIZE / 2) / focal, (row + 0.5 - SIZE / 2) / focal, 1.0])
        mix = np.linalg.solve(corners.T, ray)
        point = mix / mix.sum() @ moved
        expected = focal * point[:2] / point[2] + SIZE / 2 - [column + 0.5, row + 0.5]
        np.testing.assert_allclose(flow[row, column], expected, atol=2e-3)
    assert (flow[covering[0] < 0] == 0).all()


def test_neighbours_leave_no_crack(raster):
    """A fan of triangles whose edges run through pixel centres covers every pixel inside it."""
    rng = np.random.default_rng(5)
    fans = 0
    while fans < 100:
        hub = rng.uniform(4, 8, 2)
        through = rng.integers(0, SIZE, (9, 2)) + 0.5 - hub
        angles = np.arctan2(through[:, 1], through[:, 0])
        through = through[np.argsort(-angles)]
        if np.diff(np.append(np.sort(angles), np.min(angles) + 2 * np.pi)).max() > 2:
            continue  # a chord of the rim might cut the picture
        fans += 1
        rim = hub + 40 * through / np.linalg.norm(through, axis=1, keepdims=True)
        screen = np.column_stack([np.vstack([hub, rim]), rng.uniform(400, 500, 10)]).astype(np.float32)
        triangles = np.array([(0, k, k % 9 + 1) for k in range(1, 10)], np.int32)
        _, covering, _ = fast_view(raster, screen, triangles, [(0.0, 0.0)])
        assert (covering >= 0).all()
