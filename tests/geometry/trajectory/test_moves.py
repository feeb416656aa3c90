"""Camera moves do what their names say, and shots put them together without a jump."""

import math

import pytest
import torch

from geometry.camera.projection import project
from geometry.rotation.splines import natural_spline
from geometry.rotation.transforms import look_at
from geometry.trajectory import moves
from geometry.trajectory.camera_state import CameraState
from geometry.trajectory.moves import MOVES, Move, MoveSpec
from geometry.trajectory.shots import SPEED_PROFILES, Shot

EYE, TARGET = (0.5, -3.0, 1.5), (0.5, 1.0, 1.5)  # looks along +y, right is +x, level
SHARE = torch.linspace(0, 1, 21, dtype=torch.float64)


def done(move: Move, shot: Shot | None = None) -> CameraState:
    """The move at 21 moments."""
    shot = Shot.looking(EYE, TARGET) if shot is None else shot
    return move.apply(CameraState(shot.start.expand(21, 4, 4), torch.ones(21, dtype=torch.float64)), SHARE)


def near(found: torch.Tensor, wanted: tuple[float, ...]) -> bool:
    return torch.allclose(found, torch.tensor(wanted, dtype=found.dtype), atol=1e-9)


def elsewhere() -> Shot:
    """A camera that is turned, tilted and rolled."""
    tipped = Shot.looking((2.0, 1.0, 3.0), (0.3, 0.1, 0.4)).then(moves.roll(20.0) & moves.pan(15.0), 1.0)
    return Shot(tipped.at(torch.ones(1)).pose[0])


@pytest.mark.parametrize(
    ("move", "place"),
    [
        (moves.dolly(2.0), (0.5, -1.0, 1.5)),
        (moves.truck(2.0), (2.5, -3.0, 1.5)),
        (moves.pedestal(2.0), (0.5, -3.0, 3.5)),
        (moves.truck(1.0) & moves.pedestal(1.0), (1.5, -3.0, 2.5)),
    ],
)
def test_dolly_truck_and_pedestal_carry_the_camera_and_do_not_turn_it(move: Move, place: tuple) -> None:
    state = done(move)
    assert near(state.pose[-1, :3, 3], place)
    assert torch.allclose(state.pose[:, :3, :3], state.pose[:1, :3, :3].expand(21, 3, 3))
    assert torch.allclose(state.pose[:, :3, 3].diff(dim=0), state.pose[1:2, :3, 3] - state.pose[:1, :3, 3])


@pytest.mark.parametrize(
    ("move", "forward", "up"),
    [
        (moves.pan(90.0), (1, 0, 0), (0, 0, 1)),
        (moves.tilt(90.0), (0, 0, 1), (0, -1, 0)),
        (moves.roll(90.0), (0, 1, 0), (1, 0, 0)),
    ],
)
def test_pan_tilt_and_roll_turn_right_up_and_clockwise_on_the_spot(move: Move, forward, up) -> None:
    state = done(move)
    assert near(state.forward[-1], forward) and near(-state.pose[-1, :3, 1], up)
    assert torch.equal(state.pose[:, :3, 3], state.pose[:1, :3, 3].expand(21, 3))


def test_a_zoom_multiplies_the_focal_length_and_a_dolly_zoom_keeps_the_subjects_size() -> None:
    assert torch.allclose(done(moves.zoom(4.0)).zoom, 4**SHARE)
    shot = Shot.looking(EYE, TARGET).then(moves.dolly_zoom(2.0, distance=4.0), 1.0)
    cameras = shot.cameras(20.0, (60, 80))
    ends = torch.tensor([[0.2, 1.0, 1.5], [0.8, 1.0, 1.5]])  # a stick 4 m ahead
    uv, _ = project(cameras, ends.expand(len(cameras), 2, 3))
    assert torch.allclose(uv, uv[:1].expand_as(uv), atol=1e-3)
    behind, _ = project(cameras, (ends + torch.tensor([0, 2.0, 0])).expand(len(cameras), 2, 3))
    size = behind.diff(dim=1)[:, 0, 0]
    assert bool((size.diff() < 0).all())


@pytest.mark.parametrize("told", [{"distance": 4.0}, {"around": TARGET}])
def test_an_orbit_carries_the_camera_to_its_right_around_what_it_looks_at(told: dict) -> None:
    state = done(moves.orbit(90.0, **told))
    assert near(state.pose[-1, :3, 3], (4.5, 1.0, 1.5)) and near(state.forward[-1], (-1, 0, 0))
    spiral = done(moves.orbit(90.0, **told, rise=2.0, closer=1.0))
    assert near(spiral.pose[-1, :3, 3], (3.5, 1.0, 3.5))


@pytest.mark.parametrize(
    ("move", "point"),
    [
        (moves.orbit(200.0, around=(0.5, 0.2, 0.4), rise=1.5, closer=0.5), (0.5, 0.2, 0.4)),
        (moves.crane(2.0, 3.0), None),
        (moves.figure_eight(2.0, 1.0, 3.0), None),
    ],
)
def test_the_point_circled_stays_where_it_is_in_the_image(move: Move, point: tuple | None) -> None:
    shot = elsewhere()
    ahead = shot.start[:3, 3] + 3 * shot.start[:3, 2]
    target = ahead if point is None else torch.tensor(point, dtype=torch.float64)
    state = done(move, shot)
    towards = torch.nn.functional.normalize(target - state.pose[:, :3, 3], dim=-1)
    local = (state.pose[:, :3, :3].transpose(1, 2) @ towards[..., None]).squeeze(-1)
    assert torch.allclose(local, local[:1].expand_as(local), atol=1e-9)


@pytest.mark.parametrize(
    "move",
    [moves.dolly(1.0), moves.truck(1.0), moves.pedestal(1.0), moves.pan(50.0), moves.tilt(20.0), moves.roll(30.0),
     moves.zoom(2.0),
     moves.dolly_zoom(1.0, 3.0), moves.orbit(50.0, distance=2.0), moves.orbit(50.0, around=(1.0, 1.0, 1.0), rise=1.0),
     moves.crane(1.0, 2.0),
     moves.figure_eight(1.0, 0.5, 2.0), moves.lawnmower(2.0, 0.5, 3), moves.handheld(2.0, 0.1)],
)  # fmt: skip
def test_a_move_begins_where_the_camera_is_and_continues_smoothly(move: Move) -> None:
    shot = elsewhere()
    state = done(move, shot)
    assert torch.allclose(state.pose[0], shot.start, atol=1e-9) and float(state.zoom[0]) == 1
    fine = move.apply(
        CameraState(shot.start.expand(2001, 4, 4), torch.ones(2001, dtype=torch.float64)),
        torch.linspace(0, 1, 2001, dtype=torch.float64),
    )
    assert float(fine.pose.diff(dim=0).abs().max()) < 0.02
    turn = fine.pose[:, :3, :3]
    assert torch.allclose(turn.transpose(1, 2) @ turn, torch.eye(3, dtype=torch.float64).expand_as(turn), atol=1e-9)


def test_an_eight_ends_where_it_began() -> None:
    state = done(moves.figure_eight(2.0, 1.0, 3.0))
    assert torch.allclose(state.pose[0], state.pose[-1], atol=1e-9)
    offset = state.pose[:, :3, 3] - state.pose[0, :3, 3]
    assert float(offset[:, 0].max()) == pytest.approx(1.0, abs=0.01) and float(offset[:, 0].min()) < -0.98


def test_a_lawnmower_covers_its_rows_at_even_speed() -> None:
    share = torch.linspace(0, 1, 1001, dtype=torch.float64)
    start = CameraState(
        Shot.looking((0.0, 0.0, 5.0), (0.0, 3.0, 0.0)).start.expand(1001, 4, 4),
        torch.ones(1001, dtype=torch.float64),
    )
    places = moves.lawnmower(4.0, 1.0, 3).apply(start, share).pose[:, :3, 3]
    steps = places.diff(dim=0).norm(dim=-1)  # a few cut a corner
    assert int(((steps - 14 / 1000).abs() < 1e-9).sum()) >= 996 and float(steps.max()) < 14.001 / 1000
    assert near(places[-1], (2, 4, 5)) and float(places[:, 1].max()) == pytest.approx(4)
    for row in range(3):
        assert bool(((places - torch.tensor([row, 2.0, 5.0])).norm(dim=-1) < 0.02).any())
    down = CameraState(look_at(torch.tensor([0.0, 0, 5]), torch.zeros(3)).double().expand(1001, 4, 4), start.zoom)
    assert near(moves.lawnmower(4.0, 1.0, 1).apply(down, share).pose[-1, :3, 3], (0, 4, 5))


def test_a_flight_passes_through_its_keyframes_twice_differentiably() -> None:
    eyes = torch.tensor([[0.0, 0, 1], [2, 0, 2], [3, 2, 1], [1, 4, 1.5]], dtype=torch.float64)
    poses = look_at(eyes, torch.tensor([1.0, 2, 0.5], dtype=torch.float64).expand(4, 3))
    state = moves.fly_through(poses).apply(
        CameraState(poses[:1].expand(4, 4, 4), torch.ones(4).double()), torch.linspace(0, 1, 4, dtype=torch.float64)
    )
    assert torch.allclose(state.pose, poses, atol=1e-9)
    share = torch.linspace(0, 1, 3001, dtype=torch.float64)
    fine = (
        moves.fly_through(poses).apply(CameraState(poses[:1].expand(3001, 4, 4), torch.ones(3001).double()), share).pose
    )
    bend = fine.diff(n=2, dim=0) * 3000**2
    assert float(bend.diff(dim=0).abs().max()) < 0.02 * float(bend.abs().max())  # no jump in the second derivative


def test_a_spline_is_natural_and_exact_on_lines() -> None:
    line = torch.arange(5, dtype=torch.float64)[:, None] * torch.tensor([1.0, -2.0], dtype=torch.float64)
    at = torch.linspace(0, 4, 17, dtype=torch.float64)
    assert torch.allclose(natural_spline(line, at), at[:, None] * torch.tensor([1.0, -2.0], dtype=torch.float64))
    scipy = pytest.importorskip("scipy.interpolate")
    knots = torch.randn(7, 3, dtype=torch.float64)
    wanted = scipy.CubicSpline(range(7), knots.numpy(), bc_type="natural")(at.numpy())
    assert torch.allclose(natural_spline(knots, at), torch.from_numpy(wanted), atol=1e-12)


def test_a_follower_stays_behind_and_above_and_looks_at_what_it_follows() -> None:
    path = torch.tensor([[0.0, 0, 0], [4, 0, 0], [8, 0, 0]], dtype=torch.float64)
    state = done(moves.follow(path, distance=3.0, height=2.0))
    ahead = 8 * SHARE
    wanted = torch.stack([ahead - 3, 0 * ahead, 0 * ahead + 2], -1)
    assert torch.allclose(state.pose[:, :3, 3], wanted, atol=1e-6)
    assert near(state.forward[10], (3 / math.sqrt(13), 0, -2 / math.sqrt(13)))


def test_handheld_shake_has_the_size_given_and_repeats_with_the_seed() -> None:
    share = torch.linspace(0, 1, 4001, dtype=torch.float64)
    start = CameraState(Shot.looking(EYE, TARGET).start.expand(4001, 4, 4), torch.ones(4001, dtype=torch.float64))
    one, same, other = (
        moves.handheld(0.0, 0.1, seed, seconds=60.0).apply(start, share).pose[:, :3, 3] for seed in (3, 3, 4)
    )
    shake = (one - start.pose[:, :3, 3])[1000:3000]
    assert torch.equal(one, same) and not torch.allclose(one, other, atol=0.01)
    assert float(shake.square().mean().sqrt()) == pytest.approx(0.1, rel=0.25)
    assert near(one[-1], EYE)


@pytest.mark.parametrize("profile", SPEED_PROFILES)
def test_a_speed_profile_goes_once_from_beginning_to_end(profile: str) -> None:
    at = SPEED_PROFILES[profile](SHARE)
    assert float(at[0]) == 0 and float(at[-1]) == 1 and bool((at.diff() > 0).all())


def test_moves_of_a_shot_follow_each_other() -> None:
    shot = (
        Shot.looking(EYE, TARGET, 60.0)
        .then(moves.dolly(2.0), 2.0)
        .hold(1.0)
        .then(moves.pan(90.0), 1.0)
        .then(moves.dolly(1.0), 1.0)
    )
    cameras = shot.cameras(10.0, (30, 40))
    assert len(cameras) == 51 and shot.seconds == 5 and float(cameras.time_s[-1]) == 5
    assert torch.allclose(cameras.centers[20:40], torch.tensor([0.5, -1.0, 1.5]).expand(20, 3), atol=1e-6)
    assert torch.allclose(cameras.centers[-1], torch.tensor([1.5, -1.0, 1.5]), atol=1e-6)
    late = shot.at(torch.tensor([-1.0, 99.0]))
    assert torch.allclose(late.pose[0], shot.start) and torch.allclose(
        late.pose[1].float(), cameras.world_from_camera[-1]
    )


def test_invalid_shots_and_moves_are_refused(refused) -> None:
    shot = Shot.looking(EYE, TARGET)
    for words, make in (
        (("seconds", "0.0"), lambda: shot.then(moves.dolly(1.0), 0.0)),
        (("'jerky'", "smooth"), lambda: shot.then(moves.dolly(1.0), 1.0, "jerky")),
        (("without moves",), lambda: shot.cameras(24.0, (4, 4))),
        (("frames a second",), lambda: shot.hold(1.0).cameras(0.0, (4, 4))),
        (("exactly one",), lambda: moves.orbit(90.0)),
        (("zoom", "-1"), lambda: moves.zoom(-1.0)),
        (("subject 2.0 m", "less"), lambda: moves.dolly_zoom(2.0, 2.0)),
        (("0 rows",), lambda: moves.lawnmower(1.0, 1.0, 0)),
        (("1 poses",), lambda: moves.fly_through(torch.eye(4)[None])),
        (("1 points",), lambda: moves.follow(torch.zeros(1, 3), 1.0, 1.0)),
    ):
        with refused(*words):
            make()


def test_the_table_of_moves_names_every_move_and_describes_it() -> None:
    made = {name for name, value in vars(moves).items() if getattr(value, "__annotations__", {}).get("return") is Move}
    assert made == set(MOVES) and all(MOVES[name].make is getattr(moves, name) for name in MOVES)
    assert all(spec.doc.endswith((".", "`")) and "\n" not in spec.doc for spec in MOVES.values())
    assert MOVES["crane"].required == ("distance",) and MOVES["orbit"].required == ()
    assert [name for name, spec in MOVES.items() if spec.timed] == ["handheld"]


def test_a_move_whose_arguments_do_not_fit_its_table_entry_is_refused(refused, unchecked: None) -> None:
    with refused("'speed'", "distance"):
        MoveSpec(moves.crane, "length", {"distance": "length", "speed": "factor"})
    with refused("'distance'", "among its arguments"):
        MoveSpec(moves.crane, "length")
    with refused("'metres'", "angle"):
        MoveSpec(moves.pan, "metres")  # pyright: ignore[reportArgumentType]
