"""Energies: nothing where what is wanted holds, and one step of 1 down them about closes what is missing."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from geometry.camera.cameras import Cameras
from geometry.errors import InputError
from worldgen import scenes
from worldgen.core.clip import Clip
from worldgen.core.normalization import Normalization, scene_scale_from_cameras
from worldgen.models.codec.pixel import PixelCodec
from worldgen.sampling.denoiser import FunctionDenoiser
from worldgen.sampling.energies import Energy, camera_energy, flow_energy, mask_energy, reprojection_energy
from worldgen.sampling.guidance import guide_by_energy
from worldgen.sampling.oracles import blank
from worldgen.sampling.process import Flow
from worldgen.scenes.cameras.viewpoints import NUMBERS, ring

CODEC = PixelCodec(block=4)
SIDE = 12


@pytest.fixture(scope="module")
def still() -> Clip:
    """Two still tabletops, each in three images of 32 pixels along 12 degrees, with flow and visibility."""
    per_frame = torch.full((2, 3, NUMBERS), 0.5)
    per_frame[..., 0] = torch.tensor([0.0, 0.5, 1.0])
    per_scene = torch.rand(2, NUMBERS, generator=torch.Generator().manual_seed(0))
    cameras = ring(per_scene, per_frame, torch.full((2,), 6.0), (32, 32))
    return scenes.render(scenes.draw("tabletop", seed=0, indices=[0, 1]), cameras, truths=("flow", "visibility"))


def encoded(clip: Clip) -> tuple[Tensor, Cameras]:
    """Latent frames and the cameras in the network's normalization."""
    normalization = Normalization.of(clip.cameras, scene_scale_from_cameras(clip.cameras))
    return CODEC.encode(
        {"rgb": clip.rgb, "depth": normalization.signal_from_depth(clip.depth)}
    ), normalization.normalize(clip.cameras)


def maps(clip: Clip) -> tuple[Tensor, Tensor]:
    assert clip.flow is not None and clip.visibility is not None
    return clip.flow, clip.visibility


def latents(rgb: Tensor) -> Tensor:
    """Of images at a depth of one scale."""
    return CODEC.encode({"rgb": rgb, "depth": torch.zeros_like(rgb[:, :, :1])})


def classify(rgb: Tensor) -> Tensor:
    """Which channel is strongest."""
    return 4 * rgb


def slope(energy: Energy, x0: Tensor) -> Tensor:
    leaf = x0.clone().requires_grad_()
    return torch.autograd.grad(energy(leaf).sum(), leaf)[0]


def energies(clip: Clip) -> dict[str, Energy]:
    """Each energy, for what the clip shows."""
    _, cameras = encoded(clip)
    return {
        "flow": flow_energy(CODEC, *maps(clip)),
        "reprojection": reprojection_energy(CODEC, cameras),
        "camera": camera_energy(CODEC, clip.rgb[:, :1], clip.depth[:, :1], clip.cameras[:, :1], clip.cameras),
        "mask": mask_energy(CODEC, classify, clip.rgb.argmax(2, keepdim=True)),
    }


def test_a_scene_s_own_flow_costs_little_and_another_much(still: Clip) -> None:
    x0, _ = encoded(still)
    flow, visible = maps(still)
    own, none, reverse = (flow_energy(CODEC, f, visible)(x0) for f in (flow, torch.zeros_like(flow), -flow))
    assert own.shape == (2,)
    assert bool((own < 0.2 * none).all()) and bool((own < 0.1 * reverse).all())


def test_a_moving_image_has_no_energy_and_no_slope_for_its_own_motion() -> None:
    first = torch.rand(1, 1, 3, SIDE, SIDE).double()
    x0 = latents(torch.cat([first, first.roll((1, 2), (-2, -1))], 1))
    flow = torch.tensor([2.0, 1.0]).double().view(1, 1, 2, 1, 1).expand(1, 2, 2, SIDE, SIDE)
    energy = flow_energy(CODEC, flow, torch.ones(1, 2, 1, SIDE, SIDE, dtype=torch.bool))
    assert float(energy(x0)) < 1e-20 and float(slope(energy, x0).abs().max()) < 1e-10


def test_one_step_lets_two_frames_meet_half_way() -> None:
    """Two frames that should be equal are their mean after a step of 1."""
    x0 = latents(torch.rand(2, 2, 3, SIDE, SIDE).double())
    everywhere = torch.ones(2, 2, 1, SIDE, SIDE, dtype=torch.bool)
    energy = flow_energy(CODEC, torch.zeros(2, 2, 2, SIDE, SIDE).double(), everywhere)
    after = x0 - slope(energy, x0)
    assert torch.allclose(after, x0.mean(1, keepdim=True).expand_as(x0), atol=1e-9)


def test_flow_ignores_pixels_that_are_not_valid_or_leave_the_image() -> None:
    x0 = latents(torch.rand(1, 2, 3, SIDE, SIDE))
    flow = torch.zeros(1, 2, 2, SIDE, SIDE)
    assert float(flow_energy(CODEC, flow, torch.zeros(1, 2, 1, SIDE, SIDE, dtype=torch.bool))(x0)) == 0
    far = flow_energy(CODEC, flow + 2 * SIDE, torch.ones(1, 2, 1, SIDE, SIDE, dtype=torch.bool))
    assert float(far(x0)) == 0


def test_reprojection_is_a_sum_of_squares_where_little_is_wrong(still: Clip) -> None:
    """From one place, two images at one depth differ by R in -1..1: the sum of R^2 / 4 over both."""
    one = still.cameras[:1, [0, 0]]
    cameras = Normalization.of(one, torch.ones(1)).normalize(one).to(torch.float64)
    rgb = torch.full((1, 2, 3, 32, 32), 0.5).double()
    rgb[:, 1] += 0.004 * torch.rand(3, 32, 32).double()
    energy = reprojection_energy(CODEC, cameras)
    wanted = 2 * (2 * (rgb[:, 1] - rgb[:, 0])).square().sum() / 4
    assert float(energy(latents(rgb))) == pytest.approx(float(wanted), rel=0.01)
    assert float(energy(latents(rgb[:, :1].expand(-1, 2, -1, -1, -1)))) == pytest.approx(0, abs=1e-9)


def test_the_true_views_of_a_scene_agree_better_than_with_one_of_another(still: Clip) -> None:
    x0, cameras = encoded(still)
    energy, mixed = reprojection_energy(CODEC, cameras), x0.clone()
    mixed[:, 1] = x0.flip(0)[:, 1]
    assert bool((energy(x0) < 0.5 * energy(mixed)).all())


def test_one_step_shows_what_the_given_image_does_from_the_new_cameras(still: Clip) -> None:
    x0 = torch.randn_like(encoded(still)[0])
    energy = energies(still)["camera"]
    after = x0 - slope(energy, x0)
    assert bool((energy(after) < 1e-6 * energy(x0)).all())
    first = CODEC.decode(after)["rgb"][:, 0]
    assert torch.allclose(first, still.rgb[:, 0], atol=1e-5), "from its own camera the image is itself"
    assert torch.equal(CODEC.decode(after)["depth"], CODEC.decode(x0)["depth"]), "colors alone are asked for"


def test_masks_are_cross_entropy_where_a_class_is_wanted() -> None:
    rgb = torch.rand(1, 1, 3, SIDE, SIDE).double()
    masks = torch.full((1, 1, 1, SIDE, SIDE), -1)
    masks[..., 3, 5] = 2
    energy, x0 = mask_energy(CODEC, classify, masks), latents(rgb)
    logits = 4 * rgb[0, 0, :, 3, 5]
    assert float(energy(x0)) == pytest.approx(float(logits.exp().sum().log() - logits[2]))
    moved = CODEC.decode(slope(energy, x0))["rgb"][0, 0] - 0.5  # what is not moved decodes to a half
    assert int((moved.abs() > 1e-12).any(0).sum()) == 1 and float(moved[2, 3, 5]) < 0


@pytest.mark.parametrize("name", ["flow", "reprojection", "camera", "mask"])
def test_going_down_each_energy_lowers_it_for_every_clip(still: Clip, name: str) -> None:
    x0, _ = encoded(still)
    noisy, energy = x0 + 0.05 * torch.randn_like(x0), energies(still)[name]
    plain = FunctionDenoiser(lambda x, level, conditioning: x, Flow(), {"rgb": 48, "depth": 16})
    denoiser = guide_by_energy(plain, energy, 0.5, repeats=3)
    with torch.inference_mode():
        after = denoiser(noisy, torch.ones(2, 3, 2), blank(2, 3))
        assert bool((energy(after) < 0.9 * energy(noisy)).all())


@pytest.mark.parametrize("name", ["flow", "reprojection", "camera", "mask"])
def test_slopes_in_colors_are_those_of_finite_differences(still: Clip, name: str) -> None:
    energy = energies(still)[name]
    x0 = encoded(still)[0].double()
    x0 = x0 + 0.05 * torch.randn_like(x0)
    if name in ("flow", "reprojection"):
        flow, visible = maps(still)
        cameras = encoded(still)[1].to(torch.float64)
        doubles = {
            "flow": flow_energy(CODEC, flow.double(), visible),
            "reprojection": reprojection_energy(CODEC, cameras),
        }
        energy = doubles[name]
    along = torch.zeros_like(x0)
    along[:, :, :48] = torch.randn_like(along[:, :, :48])  # depth learns by a rule of its own
    step = 1e-5
    wanted = (energy(x0 + step * along) - energy(x0 - step * along)) / (2 * step)
    assert torch.allclose((slope(energy, x0) * along).sum((1, 2, 3, 4)), wanted, rtol=1e-4, atol=1e-4)


def _wrong(case: str, clip: Clip) -> Callable[[], object]:
    """A call that can't be answered."""
    x0, cameras = encoded(clip)
    flow, visible = maps(clip)
    return {
        "one frame": lambda: flow_energy(CODEC, flow[:, :1], visible[:, :1]),
        "another mask": lambda: flow_energy(CODEC, flow, visible[:, :2]),
        "fewer frames": lambda: flow_energy(CODEC, flow, visible)(x0[:, :2]),
        "another size": lambda: flow_energy(CODEC, flow, visible)(x0[..., :4]),
        "one camera": lambda: reprojection_energy(CODEC, cameras[:, :1]),
        "fewer cameras": lambda: reprojection_energy(CODEC, cameras[:, :2])(x0),
        "fewer depths": lambda: camera_energy(CODEC, clip.rgb, clip.depth[:, :1], clip.cameras, clip.cameras),
        "other clips": lambda: camera_energy(CODEC, clip.rgb, clip.depth, clip.cameras, clip.cameras[:1]),
        "fewer views": lambda: camera_energy(CODEC, clip.rgb, clip.depth, clip.cameras, clip.cameras)(x0[:, :1]),
        "no such class": lambda: mask_energy(CODEC, classify, torch.full((2, 3, 1, 32, 32), 3))(x0),
        "masks of another size": lambda: mask_energy(CODEC, classify, torch.zeros(2, 3, 1, 8, 8, dtype=torch.long))(x0),
    }[case]


@pytest.mark.parametrize(
    "case",
    ["one frame", "another mask", "fewer frames", "another size", "one camera", "fewer cameras", "fewer depths",
     "other clips", "fewer views", "no such class", "masks of another size"],
)  # fmt: skip
@pytest.mark.usefixtures("unchecked")
def test_shapes_that_do_not_fit_are_refused(still: Clip, case: str) -> None:
    with pytest.raises(InputError, match=r"energy: .*; expected"):
        _wrong(case, still)()
