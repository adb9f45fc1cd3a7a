"""Draws the pictures that the surface demo model learns from.

No camera took them: each is a small plate of some material under some light, with one defect or
none, drawn with numpy. That keeps the data set free of anyone's rights and lets anybody draw it
again. What it must not do is make the classes easy in ways that a real surface would not: so all
six share the same materials, lighting, dust and noise, and a good plate may be as busy as a broken
one. Only the defect tells them apart.

Every picture has a random stream of its own, seeded by (seed, split, index). So the pictures of
the training, validation and held-out splits can never be the same, and one can be drawn without
the others.
"""

import numpy as np

SEED = 20_250_101
TRAINING, VALIDATION, HELD_OUT = 0, 1, 2

PHOTO = 96
"""Side of a drawn picture in pixels: three times what the model sees, so that scaling is real."""

MODEL_INPUT = 32
"""Side of the model's input in pixels."""

_X, _Y = np.meshgrid(np.arange(PHOTO) + 0.5, np.arange(PHOTO) + 0.5)


def draw(labels, split, index):
    """Draws picture `index` of a split.

    Returns the 96x96x3 picture as uint8 and its class. Classes take turns, so that every split
    whose size is a multiple of `len(labels)` holds the same number of each.
    """
    rng = np.random.default_rng([SEED, split, index])
    label = index % len(labels)
    light = rng.uniform(0, 2 * np.pi)
    picture = _material(rng)
    if labels[label] != "good":
        _DEFECTS[labels[label]](rng, picture, light)
    picture *= _lighting(rng, light)[..., None]
    _dust(rng, picture)
    picture += rng.normal(0, rng.uniform(0.01, 0.05), picture.shape)
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8), label


def shrink(picture, way):
    """Scales a picture down to 32x32, as uint8, in one of `SHRINKERS`."""
    weights = SHRINKERS[way]
    rows = np.einsum("oi,ijc->ojc", weights, picture.astype(np.float64))
    both = np.einsum("oj,ijc->ioc", weights, rows)
    return (np.clip(both, 0, 255) + 0.5).astype(np.uint8)


def _shrinkers():
    """Returns the three ways in which image libraries scale down, as 32x96 matrices.

    The model sees all of them in training, because whoever sends it a picture has used one.
    """
    factor = PHOTO // MODEL_INPUT
    centres = (np.arange(MODEL_INPUT)[:, None] + 0.5) * factor
    distance = np.abs(np.arange(PHOTO)[None, :] + 0.5 - centres) / factor
    triangle = np.maximum(0, 1 - distance)
    return {
        "area": np.where(distance < 0.5, 1 / factor, 0.0),
        "triangle": triangle / triangle.sum(axis=1, keepdims=True),
        "nearest": np.where(distance < 0.5 / factor, 1.0, 0.0),
    }


SHRINKERS = _shrinkers()


# --- what all classes share ---


def _smooth_noise(rng, cells):
    """Returns a 96x96 field of mean 0 and about unit spread that changes over `96 / cells` pixels."""
    grid = rng.normal(size=(cells + 1, cells + 1))
    at = np.arange(PHOTO) / PHOTO * cells
    low = at.astype(int)
    part = at - low
    rows = grid[low] * (1 - part)[:, None] + grid[low + 1] * part[:, None]
    return rows[:, low] * (1 - part) + rows[:, low + 1] * part


def _material(rng):
    """Returns a plate of brushed metal, cast metal or painted sheet, evenly lit."""
    tone = rng.uniform(0.35, 0.8)
    tint = rng.normal(0, 0.035, 3)
    grain = rng.uniform(0.01, 0.035) * _smooth_noise(rng, int(rng.integers(24, 48)))
    clouds = rng.uniform(0.005, 0.03) * _smooth_noise(rng, int(rng.integers(3, 8)))
    relief = grain + clouds
    if rng.random() < 0.4:
        angle = rng.uniform(0, np.pi)
        across = _X * np.sin(angle) - _Y * np.cos(angle) + PHOTO
        lines = rng.normal(size=3 * PHOTO)
        relief = relief + rng.uniform(0.01, 0.04) * np.interp(across, np.arange(3 * PHOTO), lines)
    return np.clip(tone + tint + relief[..., None], 0.05, 0.95)


def _lighting(rng, light):
    """Returns the light on each pixel: exposure, a fall-off away from the lamp, a soft highlight."""
    along = ((_X - PHOTO / 2) * np.cos(light) + (_Y - PHOTO / 2) * np.sin(light)) / PHOTO
    x, y = rng.uniform(0, PHOTO, 2)
    spread = rng.uniform(14, 40)
    highlight = np.exp(-((_X - x) ** 2 + (_Y - y) ** 2) / (2 * spread**2))
    lit = 1 - rng.uniform(0, 0.5) * along + rng.uniform(0, 0.25) * highlight
    return lit * rng.uniform(0.7, 1.2)


def _dust(rng, picture):
    """Sprinkles up to four specks, smaller than any defect."""
    for _ in range(rng.integers(0, 5)):
        x, y = rng.uniform(0, PHOTO, 2)
        speck = _disc(np.hypot(_X - x, _Y - y), rng.uniform(0.6, 1.6))
        picture += speck[..., None] * rng.uniform(-0.35, 0.25)


def _disc(distance, radius, edge=1.0):
    """Returns how much of each pixel lies within `radius`, with an edge `edge` pixels wide."""
    return np.clip(0.5 + (radius - distance) / edge, 0, 1)


def _stroke(points, widths):
    """Returns how much of each pixel a line through `points` covers, of the given widths there."""
    covered = np.zeros((PHOTO, PHOTO))
    for (ax, ay), (bx, by), wide_a, wide_b in zip(points, points[1:], widths, widths[1:]):
        length = max(np.hypot(bx - ax, by - ay), 1e-6)
        along = ((_X - ax) * (bx - ax) + (_Y - ay) * (by - ay)) / length**2
        along = np.clip(along, 0, 1)
        distance = np.hypot(_X - ax - along * (bx - ax), _Y - ay - along * (by - ay))
        radius = (wide_a + along * (wide_b - wide_a)) / 2
        covered = np.maximum(covered, np.minimum(_disc(distance, radius), 2 * radius))
    return covered


def _place(rng, margin):
    """Returns a point at least `margin` pixels inside the picture."""
    return rng.uniform(margin, PHOTO - margin, 2)


# --- the defects ---


def _scratch(rng, picture, light):
    """Draws one to three long thin lines, nearly straight, mostly brighter than the plate."""
    angle = rng.uniform(0, np.pi)
    for _ in range(rng.integers(1, 4)):
        middle = _place(rng, 24)
        half = rng.uniform(22, 60)
        bend = rng.normal(0, 3)
        angle += rng.normal(0, 0.25)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        at = np.linspace(-1, 1, 7)
        points = middle + np.outer(at * half, along) + np.outer((1 - at**2) * bend, across)
        widths = rng.uniform(1.4, 3.0) * (1 - 0.6 * at**2)
        shade = rng.uniform(0.2, 0.45) * (1 if rng.random() < 0.8 else -0.8)
        shadow = across * np.sign(across @ [np.cos(light), np.sin(light)])
        picture += _stroke(points, widths)[..., None] * shade
        picture -= _stroke(points + 1.5 * shadow, widths / 2)[..., None] * abs(shade) / 3


def _crack(rng, picture, _light):
    """Draws a dark line that wanders, thins out and sometimes branches."""
    depth = rng.uniform(0.5, 0.9)
    start = _place(rng, 10)
    across, down = PHOTO / 2 - start
    heading = np.arctan2(down, across) + rng.normal(0, 0.7)
    pending = [(start, heading, int(rng.integers(8, 15)), rng.uniform(2.2, 4.0))]
    branches = int(rng.integers(0, 4))
    covered = np.zeros((PHOTO, PHOTO))
    while pending:
        start, heading, steps, width = pending.pop()
        points = [start]
        for _ in range(steps):
            heading += rng.normal(0, 0.65)
            step = np.array([np.cos(heading), np.sin(heading)])
            points.append(points[-1] + rng.uniform(5, 9) * step)
            if branches and len(points) > 3 and rng.random() < 0.3:
                branches -= 1
                turn = rng.uniform(0.6, 1.2) * rng.choice([-1, 1])
                pending.append((points[-1], heading + turn, int(rng.integers(3, 7)), width * 0.7))
        widths = np.linspace(width, width * 0.4, len(points))
        covered = np.maximum(covered, _stroke(np.array(points), widths))
    picture *= 1 - depth * covered[..., None]


def _dent(rng, picture, light):
    """Presses a hollow into the plate: no colour of its own, only the side towards the lamp darkens."""
    x, y = _place(rng, 24)
    wide = rng.uniform(8, 18)
    slim = wide * rng.uniform(0.65, 1)
    turn = rng.uniform(0, np.pi)
    u = ((_X - x) * np.cos(turn) + (_Y - y) * np.sin(turn)) / wide
    v = ((_Y - y) * np.cos(turn) - (_X - x) * np.sin(turn)) / slim
    hollow = np.exp(-((u**2 + v**2) ** 1.3) / 2)
    slope_y, slope_x = np.gradient(hollow)
    slope = slope_x * np.cos(light) + slope_y * np.sin(light)
    slope /= np.abs(slope).max()
    strength = rng.uniform(0.16, 0.4)
    picture *= (1 + strength * slope - 0.25 * strength * hollow)[..., None]


_LIQUIDS = np.array(
    [
        [0.50, 0.36, 0.22],  # coffee, tar
        [0.62, 0.33, 0.14],  # rust
        [0.22, 0.21, 0.24],  # oil
        [0.24, 0.32, 0.58],  # ink
        [0.36, 0.46, 0.26],  # coolant
    ]
)


def _stain(rng, picture, _light):
    """Spills something coloured: an irregular flat patch, often darker at its rim, no relief."""
    x, y = _place(rng, 26)
    angle = np.arctan2(_Y - y, _X - x)
    size = rng.uniform(12, 26)
    outline = np.full_like(angle, size)
    for wave in range(2, 6):
        outline += size * rng.normal(0, 0.22 / wave) * np.cos(wave * angle + rng.uniform(0, 2 * np.pi))
    distance = np.hypot(_X - x, _Y - y)
    patch = _disc(distance, outline, rng.uniform(2, 8))
    rim = np.exp(-((distance - outline + 3) ** 2) / 12) * rng.uniform(0, 0.35)
    opacity = rng.uniform(0.35, 0.7) * np.clip(0.9 + 0.12 * _smooth_noise(rng, 9), 0.5, 1)
    cover = np.clip(patch * (opacity + rim), 0, 0.9)[..., None]
    liquid = np.clip(_LIQUIDS[rng.integers(len(_LIQUIDS))] + rng.normal(0, 0.04, 3), 0, 1)
    picture *= 1 - cover
    picture += cover * liquid * picture.max()


def _hole(rng, picture, light):
    """Drills a round hole: nearly black, sharp, with a bright rim on the side away from the lamp."""
    x, y = _place(rng, 20)
    radius = rng.uniform(6, 15)
    squash = rng.uniform(0.85, 1)
    turn = rng.uniform(0, np.pi)
    u = (_X - x) * np.cos(turn) + (_Y - y) * np.sin(turn)
    v = ((_Y - y) * np.cos(turn) - (_X - x) * np.sin(turn)) / squash
    distance = np.hypot(u, v)
    away = np.cos(np.arctan2(_Y - y, _X - x) - light)
    rim = np.exp(-((distance - radius - 1) ** 2) / 3) * np.clip(away, 0, 1)
    picture += rng.uniform(0.1, 0.35) * rim[..., None]
    inside = _disc(distance, radius, rng.uniform(1, 2))[..., None]
    bottom = rng.uniform(0.02, 0.12) * (1 + 0.5 * np.clip(-away, 0, 1))[..., None]
    picture *= 1 - inside
    picture += inside * bottom


_DEFECTS = {"scratch": _scratch, "dent": _dent, "crack": _crack, "stain": _stain, "hole": _hole}
