"""Colors of textures, as `worldgen/scenes/rendering/torch/textures.py` computes them.

Points come in batches of one texture, so that all of its numbers are constants of loops, which the compiler vectorizes.
Sines and exponentials are polynomials: those of the system's library take one number at a time.
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np
import torch

from worldgen.scenes.rendering.constants import OCTAVES, octave_waves
from worldgen.scenes.rendering.numba.compiling import inlined, kernel
from worldgen.scenes.textures import Pattern

_WAVES, _NOISE, _COLOR, _WORLEY = (int(Pattern[name]) for name in ("WAVES", "NOISE", "COLOR", "WORLEY"))
_WOOD, _MARBLE, _BRICKS, _GLYPHS = (int(Pattern[name]) for name in ("WOOD", "MARBLE", "BRICKS", "GLYPHS"))
_GRADIENT, _ROAD, _SPECKLE, _PLAIN = (int(Pattern[name]) for name in ("GRADIENT", "ROAD", "SPECKLE", "PLAIN"))
_F = np.float32
_0, _1, _2, _HALF = _F(0), _F(1), _F(2), _F(0.5)
_PI, _TURN = _F(math.pi), _F(0.5 / math.pi)  # times the latter, radians are periods
_DIRECTIONS = np.stack([octave_waves(octave, torch.device("cpu"), torch.float32).numpy() for octave in range(OCTAVES)])
_VARIANCE = _F(math.sqrt(2 / _DIRECTIONS.shape[1]))


class TextureWorkspace(NamedTuple):
    """Arrays that textures are computed in, for k points.

    q, bent                   [3, k] coordinates, and a copy that the noise bends
    width, noise              [k] the footprint in radians, and the noise
    value, tint, fade, share  [k] what the color is mixed from (`TexturePoints.mix` of the torch reference)
    """

    q: np.ndarray
    bent: np.ndarray
    width: np.ndarray
    noise: np.ndarray
    value: np.ndarray
    tint: np.ndarray
    fade: np.ndarray
    share: np.ndarray

    @staticmethod
    def of(count: int) -> "TextureWorkspace":
        """Arrays for `count` points."""
        return TextureWorkspace(*np.empty((2, 3, count), np.float32), *np.empty((6, count), np.float32))


@no_type_check
@kernel
def texture(row, point, normal, footprint, count, work, color):
    """Colors [3, k] of `count` points [3, k] of one texture [25] (`evaluate` of the torch reference); footprint 0 =
    unfiltered."""
    pattern, sharpness, grain = int(row[23]), row[22], row[24]
    if pattern == _PLAIN and not grain > _0:
        for c in range(3):
            color[c, :count] = row[c]
        return
    q, width = work.q, work.width
    for axis in range(3):
        a, b, c, phase = row[6 + 3 * axis], row[7 + 3 * axis], row[8 + 3 * axis], row[15 + axis]
        for k in range(count):
            q[axis, k] = a * point[0, k] + b * point[1, k] + c * point[2, k] + phase
    frequency = max(_length(row, 0), _length(row, 1), _length(row, 2))
    for k in range(count):
        width[k] = footprint[k] * frequency
    if pattern == _COLOR:
        for c in range(3):
            _noise(work, _1, _1, _F(40 * c), row[18], row[19], _1, count)
            for k in range(count):
                color[c, k] = row[c] + _sigmoid(work.noise[k] * sharpness) * (row[3 + c] - row[c])
        return
    for k in range(count):
        work.value[k], work.tint[k], work.fade[k], work.share[k] = _0, _0, _1, _HALF
    if pattern == _WAVES:
        _waves(row, work, count)
        width[:count], grain = _0, _0
    elif pattern == _NOISE:
        _noise(work, _1, _1, _0, row[18], row[19], _1, count)
        for k in range(count):
            work.value[k] = work.noise[k]
    elif pattern == _WORLEY:
        _worley(row, work, count)
    elif pattern == _WOOD:
        _wood(row, work, count)
    elif pattern == _MARBLE:
        _marble(row, work, count)
    elif pattern == _BRICKS:
        _bricks(row, normal, work, count)
    elif pattern == _GLYPHS:
        _glyphs(row, normal, work, count)
    elif pattern == _GRADIENT:
        for k in range(count):
            work.value[k] = q[0, k] / _PI
    elif pattern == _ROAD:
        _road(row, work, count)
    elif pattern == _SPECKLE:
        _speckle(row, work, count)
    _mix(row, sharpness, grain, work, count, color)


@no_type_check
@inlined
def _length(row, axis):
    return np.sqrt(row[6 + 3 * axis] ** 2 + row[7 + 3 * axis] ** 2 + row[8 + 3 * axis] ** 2)


@no_type_check
@inlined
def _sin(x):
    """The sine within 1e-7 and the rounding of x itself: pi is subtracted in three parts. For numbers whose last digit
    is worth more than a turn, anything in -1..1."""
    n = np.floor(x * _F(1 / math.pi) + _HALF)
    x = x - n * _F(3.140625) - n * _F(9.67502593994140625e-4) - n * _F(1.509957990978376432e-7)
    x = min(max(x, -_F(math.pi / 2)), _F(math.pi / 2))
    s = x * x
    high = _F(8.333017118275166e-03) + s * (_F(-1.9806614727713168e-04) + s * _F(2.600054131107754e-06))
    y = x + x * s * (_F(-1.6666656732559204e-01) + s * high)
    return y * (_1 - _2 * (n - _2 * np.floor(n * _HALF)))


@no_type_check
@inlined
def exponential(x):
    """e to the power of x, within a relative 1e-5 or better, and 1e-7 where it is about 1; never 0, never infinite."""
    x = min(max(x, _F(-87)), _F(87))
    n = np.floor(x * _F(1 / math.log(2)) + _HALF)
    f = x * _F(1 / math.log(2)) - n
    high = _F(9.618005715310574e-03) + f * (_F(1.3400283642113209e-03) + f * _F(1.5475897816941142e-04))
    y = _1 + f * (
        _F(6.931471824645996e-01) + f * (_F(2.4022650718688965e-01) + f * (_F(5.5503278970718384e-02) + f * high))
    )
    return y * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@no_type_check
@inlined
def _sigmoid(x):
    return _1 / (_1 + exponential(-x))


@no_type_check
@kernel
def _noise(work, across, along, shift, gain, bend, blur, count):
    """`noise` of the torch reference at stretched and shifted coordinates, for `blur` times the footprint."""
    q, total, width = work.bent, work.noise, work.width
    for k in range(count):
        total[k] = _0
        q[0, k], q[1, k] = across * work.q[0, k] + shift, across * work.q[1, k] + shift
        q[2, k] = along * work.q[2, k] + shift
    amplitude, power = _1, _F(1e-12)
    for octave in range(_DIRECTIONS.shape[0]):
        w = _DIRECTIONS[octave]
        share, falls = amplitude * _VARIANCE, _F(-0.5) * (blur * _F(1.15)) ** 2
        for k in range(count):
            x, y, z = q[0, k], q[1, k], q[2, k]
            a = _sin(w[0, 0] * x + w[0, 1] * y + w[0, 2] * z + w[0, 3])
            b = _sin(w[1, 0] * x + w[1, 1] * y + w[1, 2] * z + w[1, 3])
            c = _sin(w[2, 0] * x + w[2, 1] * y + w[2, 2] * z + w[2, 3])
            d = _sin(w[3, 0] * x + w[3, 1] * y + w[3, 2] * z + w[3, 3])
            e = _sin(w[4, 0] * x + w[4, 1] * y + w[4, 2] * z + w[4, 3])
            total[k] += share * exponential(falls * width[k] * width[k]) * (a + b + c + d + e)
            q[0, k], q[1, k], q[2, k] = _F(2.03) * x + bend * b, _F(2.03) * y + bend * c, _F(2.03) * z + bend * a
        power += amplitude * amplitude
        amplitude, blur = amplitude * gain, blur * _F(2.03)
    scale = _1 / np.sqrt(power)
    for k in range(count):
        total[k] *= scale


@no_type_check
@inlined
def _stirred(state, axis, factor):
    state = np.uint32((state ^ np.uint32(np.uint32(np.int32(axis)) * np.uint32(factor))) * np.uint32(0x2C1B3C6D))
    return np.uint32(state ^ np.uint32(state >> np.uint32(15)))


@no_type_check
@inlined
def _cell_random(x, y, z, salt):
    state = _stirred(np.uint32(salt * 0x27D4EB2F & 0xFFFFFFFF), x, 0x9E3779B1)
    state = _stirred(_stirred(state, y, 0x85EBCA77), z, 0xC2B2AE3D)
    state = np.uint32(state * np.uint32(0x297A2D39))
    state = np.uint32(state ^ np.uint32(state >> np.uint32(15)))
    return _F(np.int32(state & np.uint32(0xFFFFFF))) * _F(2**-24)


@no_type_check
@kernel
def _mix(row, sharpness, grain, work, count, color):
    value, tint, fade, share, width = work.value, work.tint, work.fade, work.share, work.width
    for k in range(count):
        sharp = min(sharpness, _F(4) / max(width[k], _F(1e-6)))
        share[k] += fade[k] * (_sigmoid(sharp * value[k]) - share[k])
        tint[k] = _1 + fade[k] * tint[k]
    if grain > _0:
        _noise(work, _F(4), _F(4), _0, _F(0.7), _F(0.7), _F(4), count)
        for k in range(count):
            tint[k] *= _1 + grain * work.noise[k]
    for c in range(3):
        start, rise = row[c], row[3 + c] - row[c]
        for k in range(count):
            color[c, k] = max((start + share[k] * rise) * tint[k], _0)


@no_type_check
@kernel
def _set_fade(work, periods, share, count):
    """How much is left of a pattern finer than the footprint, and the share of its second color."""
    scale = _1 / (_PI * periods)
    for k in range(count):
        work.fade[k] = min(max(_F(1.5) - work.width[k] * scale, _0), _1)
        work.share[k] = share


@no_type_check
@kernel
def _waves(row, work, count):
    q, product = work.q, row[21] > _HALF
    for k in range(count):
        a, b, c = _sin(q[0, k]), _sin(q[1, k]), _sin(q[2, k])
        work.value[k] = _F(3) * a * b * c if product else a * row[18] + b * row[19] + c * row[20]


@no_type_check
@kernel
def _worley(row, work, count):
    for k in range(count):
        x, y, z = work.q[0, k] * _TURN, work.q[1, k] * _TURN, work.q[2, k] * _TURN
        left, front, low = np.floor(x - _HALF), np.floor(y - _HALF), np.floor(z - _HALF)
        first, second = _F(9), _F(9)
        nx, ny, nz = _0, _0, _0
        for corner in range(8):
            cx, cy, cz = left + _F(corner & 1), front + _F(corner >> 1 & 1), low + _F(corner >> 2)
            ax = x - cx - _F(0.25) - _HALF * _cell_random(cx, cy, cz, 1)
            ay = y - cy - _F(0.25) - _HALF * _cell_random(cx, cy, cz, 2)
            az = z - cz - _F(0.25) - _HALF * _cell_random(cx, cy, cz, 3)
            away = ax * ax + ay * ay + az * az
            closer = away < first
            second = first if closer else min(second, away)
            nx, ny, nz = (cx if closer else nx), (cy if closer else ny), (cz if closer else nz)
            first = away if closer else first
        border = _F(6) * (np.sqrt(second) - np.sqrt(first)) - _1
        tint = _2 * _cell_random(nx, ny, nz, 9) - _1
        work.value[k] = tint + row[18] * (border - tint)
        work.tint[k] = _F(0.25) * tint
    _set_fade(work, _1, _HALF, count)


@no_type_check
@kernel
def _wood(row, work, count):
    _noise(work, _HALF, _F(0.1), _0, _HALF, _F(0.7), _HALF, count)
    for k in range(count):
        x, y = work.q[0, k], work.q[1, k]
        turns = (np.sqrt(x * x + y * y + _F(1e-6)) + row[18] * work.noise[k]) * _TURN
        work.value[k] = _2 * (turns - np.floor(turns)) - _1
    _set_fade(work, _1, _HALF, count)


@no_type_check
@kernel
def _marble(row, work, count):
    _noise(work, _F(0.7), _F(0.7), _0, _F(0.55), _F(0.7), _F(0.7), count)
    for k in range(count):
        work.value[k] = _1 - _2 * abs(_sin(work.q[0, k] + row[18] * work.noise[k]))
    _set_fade(work, _HALF, _F(0.34), count)


@no_type_check
@inlined
def _on_surface(row, normal, q, k):
    """The two coordinates along the surface, in periods, and which one was left out."""
    side, most = _0, _F(-1)
    for axis in range(3):
        turned = row[6 + 3 * axis] * normal[0, k] + row[7 + 3 * axis] * normal[1, k] + row[8 + 3 * axis] * normal[2, k]
        turned = abs(turned) / max(_length(row, axis), _F(1e-9))
        side = _F(axis) if turned > most else side
        most = max(turned, most)
    u, v = (q[1, k] if side == _0 else q[0, k]), (q[1, k] if side == _2 else q[2, k])
    return u * _TURN, v * _TURN, side


@no_type_check
@kernel
def _bricks(row, normal, work, count):
    shift, joint, tints = row[18], row[19], row[20]
    for k in range(count):
        u, v, side = _on_surface(row, normal, work.q, k)
        high = np.floor(v)
        u += shift * (high - _2 * np.floor(high * _HALF))
        column = np.floor(u)
        edge = min(_HALF - abs(u - column - _HALF), _HALF - abs(v - high - _HALF))
        work.tint[k] = tints * (_2 * _cell_random(column, high, side, 3) - _1)
        value = _F(8) * (edge - joint * _HALF) / max(joint, _F(0.02))
        work.value[k] = min(max(value, _F(-3)), _F(3))
    _set_fade(work, _1, (_1 - joint) * (_1 - joint), count)


@no_type_check
@kernel
def _glyphs(row, normal, work, count):
    for k in range(count):
        u, v, side = _on_surface(row, normal, work.q, k)
        column, line = np.floor(u), np.floor(v)
        letter = np.floor(_cell_random(column, line, side, 5) * _F(90))
        x, y = np.floor((u - column) * _F(7) - _1), np.floor((v - line) * _F(9) - _1)
        within = (x >= _0) & (x < _F(5)) & (y >= _0) & (y < _F(7))
        mirrored = letter - _2 * np.floor(letter * _HALF) == _0
        x = min(x, _F(4) - x) if mirrored else x
        work.value[k] = _1 if within & (_cell_random(x, y, letter, 7) < _HALF) else _F(-1)
    _set_fade(work, _F(0.125), _F(0.5 * 35 / 63), count)


@no_type_check
@kernel
def _road(row, work, count):
    dash, lanes, line = row[18], row[19], row[20]
    _set_fade(work, _F(0.04), _0, count)
    for k in range(count):
        along, across = work.q[0, k] * _TURN, work.q[1, k] * _TURN
        nearest = np.rint(across)
        outer, inside = abs(nearest) >= lanes - _HALF, abs(nearest) <= lanes + _HALF
        solid = outer | (along - np.floor(along) < dash)
        work.value[k] = _1 if (abs(across - nearest) < line * _HALF) & inside & solid else _F(-1)
        work.share[k] = (line if outer else line * dash) if inside else _0


@no_type_check
@kernel
def _speckle(row, work, count):
    for k in range(count):
        x, y, z = work.q[0, k] * _TURN, work.q[1, k] * _TURN, work.q[2, k] * _TURN
        cx, cy, cz = np.floor(x), np.floor(y), np.floor(z)
        radius = _F(0.2) + _F(0.25) * _cell_random(cx, cy, cz, 2)
        away = np.sqrt((x - cx - _HALF) ** 2 + (y - cy - _HALF) ** 2 + (z - cz - _HALF) ** 2)
        value = _F(8) * (radius - away) if _cell_random(cx, cy, cz, 4) < row[18] else _F(-1)
        work.value[k] = min(max(value, _F(-1)), _1)
    _set_fade(work, _F(0.6), _F(0.2) * row[18], count)
