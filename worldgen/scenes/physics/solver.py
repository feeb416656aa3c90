"""One world's rigid bodies from step to step, compiled by numba: see `worldgen.scenes.physics.dynamics` for the
method."""

import math
from typing import no_type_check

import numpy as np
from numba import njit

from geometry.compiling import compiled
from worldgen.scenes import shapes
from worldgen.scenes.physics import contacts
from worldgen.scenes.physics.bodies import RigidBodies
from worldgen.scenes.physics.contacts import find_contacts, rotate, turn_back
from worldgen.scenes.shapes import Shape

SOURCES = (contacts, shapes)  # what the compiled code is made from, beside this file
_BALL = int(Shape.BALL)
_PUSH = 2.0  # metres per second at most with which overlapping bodies are pushed apart
_SLOP = 2e-4  # metres that contacts may overlap, so that they last
_BOUNCE = 0.1  # metres per second below which nothing bounces
_PER_BODY = 24  # contacts, at most


class Simulation:
    """World `index` of some bodies, as numpy arrays, with the contacts of the last step."""

    STATE = ("position", "rotation", "velocity", "spin")

    def __init__(self, bodies: RigidBodies, index: int):
        def own(name: str) -> np.ndarray:
            return getattr(bodies, name)[index].double().numpy().copy()

        self.position, self.rotation, self.velocity, self.spin = (own(name) for name in self.STATE)
        self.rotation /= np.linalg.norm(self.rotation, axis=-1, keepdims=True)
        self._kind = bodies.kind[index].numpy().copy()
        self._half, self._restitution, self._friction = own("size"), own("restitution"), own("friction")
        mass, inertia = own("mass"), bodies.inertia()[index].double().numpy()
        self._moving = (mass > 0) & (self._kind >= 0)
        self._inverse_mass = np.where(self._moving, 1 / np.where(mass > 0, mass, 1), 0.0)
        self._inertia = np.where(self._moving[:, None], inertia, 0.0)
        limit = _PER_BODY * len(self._kind)
        self._pair = np.full((limit, 2), -2)
        self._local_a, self._impulse, self._count = np.zeros((limit, 3)), np.zeros((limit, 3)), 0

    def step(self, step_s: float, substeps: int, gravity: float) -> None:
        """Advance by one step of some seconds."""
        self._count = _step(
            self._kind, self._half, self._inverse_mass, self._inertia, self._restitution, self._friction, self._moving,
            self.position, self.rotation, self.velocity, self.spin, self._pair, self._local_a, self._impulse,
            self._count, step_s, substeps, gravity,
        )  # fmt: skip


@no_type_check
@compiled(*SOURCES, nogil=True)
def _step(kind, half, inverse_mass, inertia, bounce, friction, moving, position, rotation, velocity, spin, last_pair,
          last_local, last_impulse, last_count, step_s, substeps, gravity):  # fmt: skip
    limit, h = len(last_pair), step_s / substeps
    pair = np.empty((limit, 2), np.int64)
    point_a, point_b, normal = np.empty((limit, 3)), np.empty((limit, 3)), np.empty((limit, 3))
    margin = np.empty(len(kind))
    for i in range(len(kind)):
        speed = np.sqrt(velocity[i] @ velocity[i]) + np.sqrt(spin[i] @ spin[i]) * half[i].max()
        margin[i] = 1.5 * step_s * (speed + gravity * step_s) + 0.02 * half[i].min()
    count = find_contacts(kind, half, position, rotation, moving, margin, pair, point_a, point_b, normal)

    # Anchors in the bodies' own frames (the ground's in the world), and the impulses there a step ago.
    local_a, local_b, impulse = np.empty((limit, 3)), np.empty((limit, 3)), np.zeros((limit, 3))
    approach = np.zeros(count)
    touched = np.zeros(len(kind), np.bool_)
    for c in range(count):
        a, b = pair[c]
        local_a[c] = _anchor(kind[a], rotation[a], point_a[c] - position[a])
        local_b[c] = _anchor(kind[b], rotation[b], point_b[c] - position[b]) if b >= 0 else point_b[c]
        impulse[c] = _last_impulse(a, b, local_a[c], half[a].min(), last_pair, last_local, last_impulse, last_count)
        touched[a] = True
        if b >= 0:
            touched[b] = True

    for _ in range(substeps):
        for i in range(len(kind)):
            if moving[i]:
                velocity[i, 2] -= gravity * h
        for c in range(count):
            a, b = pair[c]
            if impulse[c, 0] == 0.0:
                approach[c] = _approach(kind, a, b, c, local_a, local_b, normal, position, rotation, velocity, spin)
            else:
                n, u, v = _frame(normal[c])
                kept = n * impulse[c, 0] + u * impulse[c, 1] + v * impulse[c, 2]
                _push(kind, a, b, c, kept, local_a, local_b, inverse_mass, inertia, rotation, velocity, spin)
        _solve(kind, True, h, count, pair, local_a, local_b, normal, impulse, inverse_mass, inertia, friction,
               position, rotation, velocity, spin)  # fmt: skip
        for i in range(len(kind)):
            if moving[i]:
                _advance(i, kind, inertia, position, rotation, velocity, spin, h)
                if not touched[i]:
                    position[i, 2] += 0.5 * gravity * h * h  # the parabola, exactly
        _solve(kind, False, h, count, pair, local_a, local_b, normal, impulse, inverse_mass, inertia, friction,
               position, rotation, velocity, spin)  # fmt: skip
        _rebound(kind, count, pair, local_a, local_b, normal, impulse, approach, bounce, inverse_mass, inertia,
                 position, rotation, velocity, spin)  # fmt: skip

    last_pair[:count], last_local[:count], last_impulse[:count] = pair[:count], local_a[:count], impulse[:count]
    return count


@no_type_check
@njit(nogil=True)
def _anchor(kind, rotation, arm):
    return arm.copy() if kind == _BALL else turn_back(rotation, arm)


@no_type_check
@njit(nogil=True)
def _last_impulse(a, b, local, size, pair, locals_, impulse, count):
    """The impulse a step ago of the contact of the same two bodies nearest to this one."""
    best, found = (0.1 * size) ** 2, np.zeros(3)
    for c in range(count):
        if pair[c, 0] == a and pair[c, 1] == b:
            away = locals_[c] - local
            if away @ away < best:
                best = away @ away
                found = impulse[c].copy()
    return found


@no_type_check
@njit(nogil=True)
def _frame(n):
    """A contact's normal and two directions across it."""
    helper = np.array([1.0, 0.0, 0.0]) if abs(n[0]) < 0.7 else np.array([0.0, 1.0, 0.0])
    u = np.cross(n, helper)
    u = u / np.sqrt(u @ u)
    return n, u, np.cross(n, u)


@no_type_check
@njit(nogil=True)
def _arms(kind, a, b, c, local_a, local_b, rotation):
    """From the bodies' centers to the anchors, in the world. A ball's do not turn with it: it rolls over them."""
    arm_a = local_a[c].copy() if kind[a] == _BALL else rotate(rotation[a], local_a[c])
    if b < 0:
        return arm_a, np.zeros(3)
    return arm_a, local_b[c].copy() if kind[b] == _BALL else rotate(rotation[b], local_b[c])


@no_type_check
@njit(nogil=True)
def _relative(a, b, arm_a, arm_b, velocity, spin):
    """The velocity of b's anchor relative to a's."""
    moved = -velocity[a] - np.cross(spin[a], arm_a)
    return moved + velocity[b] + np.cross(spin[b], arm_b) if b >= 0 else moved


@no_type_check
@njit(nogil=True)
def _approach(kind, a, b, c, local_a, local_b, normal, position, rotation, velocity, spin):
    arm_a, arm_b = _arms(kind, a, b, c, local_a, local_b, rotation)
    return _relative(a, b, arm_a, arm_b, velocity, spin) @ normal[c]


@no_type_check
@njit(nogil=True)
def _spin_change(i, torque, inertia, rotation):
    """The change of spin by an angular impulse."""
    if inertia[i, 0] == 0.0:
        return np.zeros(3)
    return rotate(rotation[i], turn_back(rotation[i], torque) / inertia[i])


@no_type_check
@njit(nogil=True)
def _push(kind, a, b, c, impulse, local_a, local_b, inverse_mass, inertia, rotation, velocity, spin):
    """An impulse on b at its anchor, and its opposite on a."""
    arm_a, arm_b = _arms(kind, a, b, c, local_a, local_b, rotation)
    velocity[a] -= impulse * inverse_mass[a]
    spin[a] -= _spin_change(a, np.cross(arm_a, impulse), inertia, rotation)
    if b >= 0:
        velocity[b] += impulse * inverse_mass[b]
        spin[b] += _spin_change(b, np.cross(arm_b, impulse), inertia, rotation)


@no_type_check
@njit(nogil=True)
def _mass(a, b, arm_a, arm_b, n, inverse_mass, inertia, rotation):
    """The mass that an impulse along n moves."""
    turned = np.cross(arm_a, n)
    total = inverse_mass[a] + turned @ _spin_change(a, turned, inertia, rotation)
    if b >= 0:
        turned = np.cross(arm_b, n)
        total += inverse_mass[b] + turned @ _spin_change(b, turned, inertia, rotation)
    return 1 / total if total > 0 else 0.0


@no_type_check
@njit(nogil=True)
def _solve(kind, soft, h, count, pair, local_a, local_b, normal, impulse, inverse_mass, inertia, friction, position,
           rotation, velocity, spin):  # fmt: skip
    """One sweep over the contacts: no body may approach another, nor slide without friction."""
    omega, damping = 2 * math.pi * 0.125 / h, 10.0  # an eighth of the substeps' rate, far overdamped
    a1 = 2 * damping + h * omega
    a2 = h * omega * a1
    rate, mass_share, impulse_share = omega / a1, a2 / (1 + a2), 1 / (1 + a2)
    for c in range(count):
        a, b = pair[c]
        n, u, v = _frame(normal[c])
        arm_a, arm_b = _arms(kind, a, b, c, local_a, local_b, rotation)
        there = position[b] + arm_b if b >= 0 else local_b[c]
        if b < 0:  # the ground right below the anchor
            there = np.array([position[a, 0] + arm_a[0], position[a, 1] + arm_a[1], 0.0])
        gap = (there - position[a] - arm_a) @ n
        bias, firm, forget = 0.0, 1.0, 0.0
        if gap > 0:
            bias = gap / h
        elif soft:
            bias, firm, forget = max(rate * min(gap + _SLOP, 0.0), -_PUSH), mass_share, impulse_share
        speed = _relative(a, b, arm_a, arm_b, velocity, spin) @ n
        change = -_mass(a, b, arm_a, arm_b, n, inverse_mass, inertia, rotation) * firm * (speed + bias)
        change = max(impulse[c, 0] + change - forget * impulse[c, 0], 0.0) - impulse[c, 0]
        impulse[c, 0] += change
        _push(kind, a, b, c, n * change, local_a, local_b, inverse_mass, inertia, rotation, velocity, spin)

        grip = friction[a] if b < 0 else math.sqrt(friction[a] * friction[b])
        sliding = _relative(a, b, arm_a, arm_b, velocity, spin)
        first = impulse[c, 1] - _mass(a, b, arm_a, arm_b, u, inverse_mass, inertia, rotation) * (sliding @ u)
        second = impulse[c, 2] - _mass(a, b, arm_a, arm_b, v, inverse_mass, inertia, rotation) * (sliding @ v)
        size, most = math.sqrt(first * first + second * second), grip * impulse[c, 0]
        share = most / size if size > most else 1.0
        across = u * (first * share - impulse[c, 1]) + v * (second * share - impulse[c, 2])
        impulse[c, 1], impulse[c, 2] = first * share, second * share
        _push(kind, a, b, c, across, local_a, local_b, inverse_mass, inertia, rotation, velocity, spin)


@no_type_check
@njit(nogil=True)
def _rebound(kind, count, pair, local_a, local_b, normal, impulse, approach, bounce, inverse_mass, inertia, position,
             rotation, velocity, spin):  # fmt: skip
    """Contacts that have closed in this substep reverse a share of the speed at which the bodies came together."""
    for c in range(count):
        a, b = pair[c]
        back = bounce[a] if b < 0 else max(bounce[a], bounce[b])
        if approach[c] > -_BOUNCE or impulse[c, 0] == 0.0 or back == 0.0:
            continue
        arm_a, arm_b = _arms(kind, a, b, c, local_a, local_b, rotation)
        there = position[b] + arm_b if b >= 0 else np.array([0.0, 0.0, 0.0])
        gap = (there - position[a] - arm_a) @ normal[c]
        if gap > 1e-3 * abs(approach[c]):
            continue  # slowed down, but not there yet
        speed = _relative(a, b, arm_a, arm_b, velocity, spin) @ normal[c]
        change = -_mass(a, b, arm_a, arm_b, normal[c], inverse_mass, inertia, rotation) * (speed + back * approach[c])
        if change > 0:
            impulse[c, 0] += change
            _push(kind, a, b, c, normal[c] * change, local_a, local_b, inverse_mass, inertia, rotation, velocity, spin)
        approach[c] = 0.0


@no_type_check
@njit(nogil=True)
def _advance(i, kind, inertia, position, rotation, velocity, spin, h):
    """Drift for h seconds; a box keeps its angular momentum, by the midpoint rule, and its spin follows."""
    position[i] += velocity[i] * h
    if kind[i] == _BALL:
        _turn(rotation[i], spin[i], h)
        return
    momentum = rotate(rotation[i], turn_back(rotation[i], spin[i]) * inertia[i])
    middle = rotation[i].copy()
    _turn(middle, spin[i], 0.5 * h)
    _turn(rotation[i], rotate(middle, turn_back(middle, momentum) / inertia[i]), h)
    spin[i] = rotate(rotation[i], turn_back(rotation[i], momentum) / inertia[i])


@no_type_check
@njit(nogil=True)
def _turn(q, spin, h):
    """A quaternion turned for h seconds, in place."""
    speed = math.sqrt(spin @ spin)
    half = 0.5 * h * speed
    w, scale = math.cos(half), (math.sin(half) / speed if speed > 1e-12 else 0.5 * h)
    x, y, z = spin[0] * scale, spin[1] * scale, spin[2] * scale
    a, b, c, d = q[0], q[1], q[2], q[3]
    q[0], q[1] = w * a - x * b - y * c - z * d, w * b + x * a + y * d - z * c
    q[2], q[3] = w * c - x * d + y * a + z * b, w * d + x * c - y * b + z * a
    length = math.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2 + q[3] ** 2)
    for k in range(4):
        q[k] /= length
