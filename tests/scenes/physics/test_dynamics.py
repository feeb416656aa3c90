"""Rigid bodies against the laws of mechanics, and against MuJoCo."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from geometry.errors import InputError
from geometry.rotation.quaternions import matrix_from_quaternion_wxyz, quaternion_wxyz_from_matrix
from geometry.rotation.transforms import rotation_about
from worldgen.scenes.physics.bodies import GRAVITY, RigidBodies
from worldgen.scenes.physics.dynamics import simulate, steps
from worldgen.scenes.shapes import Shape

pytest.importorskip("numba")
STEP = 1 / 240


def bodies(*rows: dict[str, Any]) -> RigidBodies:
    """One world of the bodies in the rows; by default a resting ball of 0.2 m and 1 kg."""

    def column(name: str, default: Any) -> torch.Tensor:
        return torch.tensor([[row.get(name, default) for row in rows]], dtype=torch.float64)

    kind = torch.tensor([[int(row.get("kind", Shape.BALL)) for row in rows]])
    zero = [0.0, 0.0, 0.0]
    return RigidBodies(
        kind, column("size", [0.2] * 3), column("mass", 1.0), column("bounce", 0.0), column("rub", 0.5),
        column("place", zero), column("turn", [1.0, 0.0, 0.0, 0.0]), column("velocity", zero), column("spin", zero),
    )  # fmt: skip


def run(start: RigidBodies, seconds: float, gravity: float = GRAVITY) -> list[RigidBodies]:
    """The start and the state after every step."""
    return [start, *steps(start, STEP, round(seconds / STEP), gravity)]


def lowest(state: RigidBodies) -> torch.Tensor:
    """The height [n] of each body's lowest point over the ground."""
    rotation = matrix_from_quaternion_wxyz(state.rotation[0])
    box = (rotation[:, 2].abs() * state.size[0]).sum(-1)
    return state.position[0, :, 2] - torch.where(state.kind[0] == Shape.BALL, state.size[0, :, 0], box)


def turned(angle: float, axis: tuple[float, float, float] = (0.3, 1.0, 0.2)) -> list[float]:
    """A rotation as a quaternion."""
    return quaternion_wxyz_from_matrix(rotation_about(torch.tensor(axis), torch.tensor(angle))).tolist()


CLUTTER = bodies(
    {"kind": Shape.BOX, "size": [0.3, 0.2, 0.1], "place": [0, 0, 1.5], "turn": turned(1.0), "spin": [4.0, 3, 2],
     "velocity": [1.0, 0.5, 0], "bounce": 0.3},
    {"kind": Shape.BOX, "size": [0.2, 0.2, 0.4], "place": [0.1, 0.1, 3.0], "turn": turned(2.0), "spin": [1.0, 5, 2],
     "bounce": 0.5, "mass": 3.0},
    {"size": [0.25] * 3, "place": [0.1, 0.1, 4.5], "bounce": 0.6, "mass": 2.0},
    {"kind": Shape.BOX, "size": [0.25, 0.25, 0.25], "place": [0.0, 0.1, 6.0], "turn": turned(0.7), "rub": 0.2},
)  # fmt: skip


def test_a_thrown_body_follows_its_parabola() -> None:
    start = bodies({"place": [0, 0, 5.0], "velocity": [2.0, 1.0, 3.0]}, {"kind": Shape.BOX, "place": [3, 0, 9.0]})
    end = run(start, 1.0)[-1]
    wanted = torch.tensor([[2.0, 1.0, 8.0 - GRAVITY / 2], [3.0, 0.0, 9.0 - GRAVITY / 2]]).double()
    assert torch.allclose(end.position[0], wanted, rtol=1e-3, atol=0) and torch.allclose(end.position[0], wanted)


def test_a_dropped_ball_comes_back_to_the_square_of_its_restitution_and_never_enters_the_ground() -> None:
    for bounce in (0.9, 0.6, 0.3):
        states = run(bodies({"place": [0, 0, 1.2], "bounce": bounce}), 1.0)
        height = torch.stack([lowest(state)[0] for state in states])
        rising = torch.stack([state.velocity[0, 0, 2] for state in states])
        after = int((rising > 0.2).nonzero()[0])
        assert float(height[after:].max()) == pytest.approx(bounce**2, rel=0.02, abs=0.003)
        assert height.min() > -0.002


def test_equal_balls_exchange_their_velocities_and_a_soft_hit_leaves_them_together() -> None:
    rows = [{"place": [-1.0, 0, 5], "velocity": [3.0, 0, 0]}, {"place": [0.0, 0, 5]}]
    elastic = run(bodies(*({**row, "bounce": 1.0, "rub": 0.0} for row in rows)), 0.6, gravity=0.0)[-1]
    assert torch.allclose(elastic.velocity[0, :, 0], torch.tensor([0.0, 3.0]).double(), atol=1e-6)
    soft = run(bodies(*rows), 0.6, gravity=0.0)[-1]
    assert torch.allclose(soft.velocity[0, :, 0], torch.tensor([1.5, 1.5]).double(), atol=1e-6)


@pytest.mark.parametrize("kinds", [(Shape.BALL, Shape.BALL), (Shape.BALL, Shape.BOX), (Shape.BOX, Shape.BOX)])
def test_collisions_keep_momentum_and_angular_momentum(kinds: tuple[Shape, Shape]) -> None:
    start = bodies(
        {"kind": kinds[0], "place": [-1.0, 0.1, 5], "velocity": [3.0, 0, 0.2], "spin": [1.0, 2, 3], "bounce": 0.7},
        {"kind": kinds[1], "place": [0.0, 0, 5.1], "turn": turned(0.9), "mass": 2.5, "size": [0.3, 0.3, 0.3]},
    )
    linear, angular = start.momentum()
    states = run(start, 0.8, gravity=0.0)
    assert (states[-1].velocity - start.velocity).abs().max() > 0.5  # they did meet
    for state in states[::10]:
        assert torch.allclose(state.momentum()[0], linear, atol=1e-9)
    # The gap that a contact closes ahead of time is an arm that friction turns about, to a small degree.
    assert torch.allclose(states[-1].momentum()[1], angular, atol=2e-2 * float(angular.norm()))


def test_a_spinning_box_keeps_its_angular_momentum_and_energy_and_tumbles_about_its_middle_axis() -> None:
    start = bodies({"kind": Shape.BOX, "size": [0.3, 0.2, 0.1], "place": [0, 0, 5], "spin": [0.1, 6.0, 0.1]})
    states = run(start, 4.0, gravity=0.0)
    end = states[-1]
    assert torch.allclose(end.momentum()[1], start.momentum()[1], rtol=1e-9)
    assert torch.allclose(end.energy(0.0), start.energy(0.0), rtol=1e-5)
    own = torch.stack([matrix_from_quaternion_wxyz(s.rotation[0, 0])[:, 1] @ s.spin[0, 0] for s in states])
    assert own.min() < -5  # Dzhanibekov: it turns over


def test_energy_never_grows_by_more_than_a_hundredth_over_a_thousand_steps() -> None:
    energy = torch.cat([state.energy() for state in run(CLUTTER, 1000 * STEP)])
    lowest_yet = energy.cummin(0).values
    assert ((energy - lowest_yet) / energy[0]).max() < 0.01
    assert energy[-1] < 0.2 * energy[0]


def test_nothing_sinks_into_the_ground_by_a_hundredth_of_its_size() -> None:
    for state in run(CLUTTER, 1000 * STEP):
        assert bool((lowest(state) > -0.01 * state.size[0].amax(-1) * 2).all())


def test_fast_balls_do_not_sink_into_or_pass_through_a_thin_wall() -> None:
    for speed in (5.0, 40.0):
        start = bodies(
            {"size": [0.1] * 3, "place": [-1.0, 0, 1.0], "velocity": [speed, 0, 0], "bounce": 0.2},
            {"kind": Shape.BOX, "size": [0.02, 1.0, 1.0], "place": [0, 0, 1.0], "mass": 0.0},
        )
        gap = torch.stack([-0.02 - 0.1 - state.position[0, 0, 0] for state in run(start, 0.5)])
        assert gap.min() > -0.002 and gap.min() < speed * STEP  # between two states at most that is closed


def test_a_tower_rests() -> None:
    start = bodies(*({"kind": Shape.BOX, "place": [0, 0, 0.2 + 0.4 * n]} for n in range(5)))
    states = run(start, 5.0)
    end = states[-1]
    assert (end.position - start.position).abs().max() < 0.004  # a hundredth of a box
    assert end.velocity.abs().max() < 1e-3 and end.spin.abs().max() < 1e-3
    gaps = (end.position[0, 1:, 2] - end.position[0, :-1, 2]) - 0.4
    assert gaps.min() > -0.004 and gaps.max() < 1e-3


def test_a_box_set_down_on_its_edge_falls_onto_a_face_and_stays() -> None:
    start = bodies({"kind": Shape.BOX, "place": [0, 0, 0.35], "turn": turned(0.6, (1.0, 0.0, 0.0))})
    end = run(start, 3.0)[-1]
    up = matrix_from_quaternion_wxyz(end.rotation[0, 0])[2].abs()
    assert up.max() > 0.9999 and end.velocity.abs().max() < 1e-3
    assert float(end.position[0, 0, 2]) == pytest.approx(0.2, abs=0.002)


def test_friction_stops_a_sliding_box_where_coulomb_s_law_says_and_lets_a_ball_roll() -> None:
    slid = run(bodies({"kind": Shape.BOX, "place": [0, 0, 0.2], "velocity": [3.0, 0, 0], "rub": 0.4}), 2.0)[-1]
    assert float(slid.position[0, 0, 0]) == pytest.approx(9 / (2 * 0.4 * GRAVITY), rel=0.02)
    assert slid.velocity.abs().max() < 1e-3
    rolled = run(bodies({"place": [0, 0, 0.2], "velocity": [3.5, 0, 0]}), 2.0)[-1]
    # A ball that starts to slide ends up rolling at five sevenths of its speed, whatever the friction.
    assert float(rolled.velocity[0, 0, 0]) == pytest.approx(2.5, rel=0.01)
    assert float(rolled.spin[0, 0, 1] * 0.2) == pytest.approx(2.5, rel=0.01)


def test_a_world_does_not_depend_on_the_others_of_the_batch() -> None:
    def pair(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        return torch.cat([first, second])

    other = replace(CLUTTER, position=CLUTTER.position + 0.3)
    names = CLUTTER.__dataclass_fields__
    both = RigidBodies(**{name: pair(getattr(other, name), getattr(CLUTTER, name)) for name in names})
    alone, together = run(CLUTTER, 0.8)[-1], run(both, 0.8)[-1]
    assert torch.equal(alone.position[0], together.position[1]) and torch.equal(alone.rotation[0], together.rotation[1])


def test_tracks_are_the_states_at_the_frames() -> None:
    motion = simulate(CLUTTER, 0.5, 30.0)
    assert motion.time_s.shape == (1, 16) and float(motion.time_s[0, -1]) == pytest.approx(0.5)
    motion.check()
    states = run(CLUTTER, 0.5)
    for frame in (0, 7, 15):
        assert torch.allclose(motion.position[0, :, frame].double(), states[8 * frame].position[0], atol=1e-5)


def test_impossible_bodies_are_refused() -> None:
    good = bodies({"place": [0, 0, 1]})
    for bad, what in (
        (replace(good, position=good.position / 0), "position"),
        (replace(good, size=good.size * 0), "size 0"),
        (replace(good, kind=torch.tensor([[int(Shape.CONE)]])), "cone"),
        (replace(good, rotation=good.rotation * 0), "length 0"),
    ):
        with pytest.raises(InputError, match=what):
            next(steps(bad, STEP, 1))
    with pytest.raises(InputError, match="above 0"):
        simulate(good, 0.0)


def test_mujoco_agrees_on_flight_sliding_rolling_and_rest() -> None:
    pytest.importorskip("mujoco")
    from worldgen.scenes.physics.mujoco import simulate_mujoco

    start = bodies(
        {"place": [0, 0, 3.0], "velocity": [1.0, 2.0, 4.0], "spin": [1.0, 2, 3]},
        {"kind": Shape.BOX, "place": [5, 0, 0.2], "velocity": [2.0, 0, 0], "rub": 0.3},
        {"place": [0, -5, 0.2], "velocity": [2.0, 0, 0]},
        *({"kind": Shape.BOX, "place": [-5, 0, 0.2 + 0.4 * n]} for n in range(3)),
    )
    ours, theirs = simulate(start, 0.9), simulate_mujoco(start, 0.9)
    away = (ours.position - theirs.position).norm(dim=-1)[0].amax(-1)
    assert away[0] < 0.01 and away[1] < 0.03 and away[2] < 0.03 and away[3:].max() < 0.005
    assert (ours.position[0, :3, -1] - ours.position[0, :3, 0]).norm(dim=-1).min() > 0.5
