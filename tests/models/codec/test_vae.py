"""`ConvVAE`: causal, the same in chunks and in tiles, every weight in use, and where it starts."""

import pytest
import torch
from torch import Tensor, nn

from geometry.errors import InputError
from worldgen.models.codec.causal_layers import Past
from worldgen.models.codec.pixel import PixelCodec
from worldgen.models.codec.principal_components import patch_components, start_from_components
from worldgen.models.codec.protocol import Codec
from worldgen.models.codec.vae import BranchConfig, ConvVAE, ConvVAEConfig


def vae_of(group: int = 1, block: int = 4, awake: bool = True, **branch) -> ConvVAE:
    """A small codec; awake: no weight is zero, latents are not normalized to 0 and 1."""
    shape = BranchConfig(**{"latents": 3, "widths": (6, 8), "encoder": (1, 1), "decoder": (1, 2), **branch})
    vae = ConvVAE(ConvVAEConfig(block, group, shape, shape))
    if awake:
        for parameter in vae.parameters():
            nn.init.normal_(parameter, std=0.3)
        vae.get_buffer("latent_mean").normal_()
        vae.get_buffer("latent_std").uniform_(0.5, 2)
    return vae.requires_grad_(False).eval()


def video(frames: int, hw: tuple[int, int] = (16, 24), batch: tuple[int, ...] = (2,)) -> dict[str, Tensor]:
    return {"rgb": torch.rand(*batch, frames, 3, *hw), "depth": 3 * torch.rand(*batch, frames, 1, *hw) - 1}


def cut(signals: dict[str, Tensor], sizes: list[int]) -> list[dict[str, Tensor]]:
    """A video in chunks of so many frames."""
    parts = {name: x.split(sizes, 1) for name, x in signals.items()}
    return [dict(zip(parts, part)) for part in zip(*parts.values())]


@pytest.mark.parametrize("block", [4, 8])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("batch", [(), (2,), (1, 2)])
def test_a_codec_keeps_shapes_and_says_what_its_latents_are(block: int, group: int, batch: tuple[int, ...]) -> None:
    vae = vae_of(group, block)
    signals = video(1 + 2 * group, batch=batch)
    latent = vae.encode(signals)
    assert latent.shape == (*batch, 3, sum(vae.modalities().values()), 16 // block, 24 // block)
    assert {name: x.shape for name, x in vae.decode(latent).items()} == {n: x.shape for n, x in signals.items()}
    assert (vae.block, vae.group) == (block, group)


def test_both_codecs_keep_one_contract() -> None:
    assert isinstance(vae_of(), Codec) and isinstance(PixelCodec(), Codec)


def test_a_modality_has_latents_of_its_own() -> None:
    vae = vae_of(2)
    signals = video(3)
    latent, other = vae.encode(signals), vae.encode(signals | {"rgb": video(3)["rgb"]})
    assert torch.equal(other[:, :, 3:], latent[:, :, 3:]) and not torch.equal(other[:, :, :3], latent[:, :, :3])


@pytest.mark.parametrize("group", [1, 2, 4])
def test_changing_a_frame_changes_no_latent_before_its_own(group: int) -> None:
    vae = vae_of(group)
    signals = video(1 + 3 * group)
    before = vae.encode(signals)
    for frame in range(1 + 3 * group):
        changed = signals["rgb"].clone()
        changed[:, frame] = torch.rand_like(changed[:, frame])
        same = (vae.encode(signals | {"rgb": changed}) == before).all(-1).all(-1).all(-1).all(0)
        own = -(-frame // group)
        assert same[:own].all() and not same[own], (frame, same)


@pytest.mark.parametrize("group", [2, 4])
def test_changing_a_latent_frame_changes_no_image_before_its_own(group: int) -> None:
    vae = vae_of(group)
    latent = torch.randn(1, 4, 6, 4, 6)
    before = vae.decode(latent)
    for frame in range(4):
        changed = latent.clone()
        changed[:, frame] += 1
        first = 0 if frame == 0 else 1 + (frame - 1) * group
        for name, new in vae.decode(changed).items():
            same = (new == before[name]).all(-1).all(-1).all(-1).all(0)
            assert same[:first].all() and not same[first]


def test_with_no_groups_no_frame_sees_another() -> None:
    vae = vae_of(1)
    signals = video(4)
    alone = torch.cat([vae.encode(frame) for frame in cut(signals, [1] * 4)], 1)
    assert torch.allclose(vae.encode(signals), alone, atol=1e-5)


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("chunks", [(1, 1, 1, 1), (2, 2), (1, 3), (3, 1)])
def test_a_video_in_chunks_is_the_whole_video(group: int, chunks: tuple[int, ...]) -> None:
    vae = vae_of(group)
    signals = video(1 + 3 * group)
    whole = vae.encode(signals)
    sizes = [count * group - (group - 1) * (n == 0) for n, count in enumerate(chunks)]
    past = Past()
    parts = [vae.encode(chunk, past) for chunk in cut(signals, sizes)]
    assert [part.shape[1] for part in parts] == list(chunks)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)
    past = Past()
    decoded = [vae.decode(part, past) for part in whole.split(list(chunks), 1)]
    for name, expected in vae.decode(whole).items():
        assert torch.allclose(torch.cat([part[name] for part in decoded], 1), expected, atol=1e-5)


def test_what_a_video_leaves_behind_does_not_grow_with_its_length() -> None:
    vae, past, sizes = vae_of(2), Past(), []
    for _ in range(4):
        vae.decode(torch.randn(1, 5, 6, 2, 2), past)
        sizes.append(sum(tail.untyped_storage().nbytes() for tail in past.tails.values()))
    assert sizes[0] > 0 and set(sizes) == {sizes[0]}


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("tile", [3, 5])
def test_tiled_decoding_is_decoding(group: int, tile: int) -> None:
    vae = vae_of(group)
    latent = torch.randn(2, 4, 6, 17, 14)
    tiled = vae.decode_tiled(latent, tile, chunk=2)
    for name, whole in vae.decode(latent).items():
        assert torch.allclose(tiled[name], whole, atol=1e-5)


def test_the_halo_is_how_far_the_decoder_sees() -> None:
    vae = vae_of()
    latent = torch.randn(1, 1, 6, 21, 21)
    changed = latent.clone()
    changed[..., 10, 10] += 1
    moved = (vae.decode(changed)["rgb"] != vae.decode(latent)["rgb"]).any(-3)[0, 0].nonzero()
    reach = max(10 * 4 - int(moved.min()), int(moved.max()) - 10 * 4 - 3) / 4
    assert vae.halo - 1 < reach <= vae.halo
    exact = vae.decode(latent)["rgb"]
    tiled = [vae.decode_tiled(latent, 7, halo=halo)["rgb"] for halo in (0, vae.halo)]
    errors = [float((rgb - exact).abs().max()) for rgb in tiled]
    assert errors[0] > 1e-3 and errors[1] < 1e-5


def test_tiled_decoding_holds_no_more_than_a_tile_and_a_chunk_at_once() -> None:
    vae, largest = vae_of(2), []
    for module in vae.decoders.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, output: largest.append(output.numel()))
    peaks = []
    for frames, side in ((4, 16), (6, 28)):
        largest.clear()
        vae.decode_tiled(torch.randn(1, frames, 6, side, side), tile=6, chunk=2)
        peaks.append(max(largest))
    assert peaks[1] <= peaks[0] * 1.01


@pytest.mark.parametrize("group", [1, 2])
def test_every_weight_has_a_gradient(group: int) -> None:
    vae = vae_of(group).requires_grad_(True)
    mean, log_variance = vae.posterior(video(1 + group))
    decoded = vae.reconstruct(mean + torch.randn_like(mean) * (log_variance / 2).exp())
    sum(part.square().mean() for part in decoded.values()).backward()  # type: ignore[union-attr]
    still = [name for name, parameter in vae.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


def test_a_codec_starts_as_the_principal_components_of_patches() -> None:
    vae = vae_of(awake=False, widths=(64, 256), latents=5)
    videos = [video(3, batch=(6,))]
    start_from_components(vae, videos)
    images = video(3)
    ours = vae.decode(vae.encode(images))
    for name, best in patch_components(vae, videos)(images).items():
        assert torch.allclose(ours[name], best, atol=1e-4)


@pytest.mark.parametrize("group", [1, 2])
def test_a_codec_with_as_many_latents_as_numbers_starts_lossless(group: int) -> None:
    vae = vae_of(group, awake=False, widths=(12, 256), latents=48 * group)
    start_from_components(vae, [video(1 + 2 * group, batch=(12,))])
    images = video(1 + 2 * group)
    for name, ours in vae.decode(vae.encode(images)).items():
        assert torch.allclose(ours, images[name], atol=1e-3)


def test_latents_are_normalized_and_come_back() -> None:
    vae = vae_of()
    signals = video(2)
    normalized = vae.encode(signals)
    mean, _ = vae.posterior(signals)
    std, shift = vae.get_buffer("latent_std")[:, None, None], vae.get_buffer("latent_mean")[:, None, None]
    assert torch.allclose(normalized * std + shift, mean, atol=1e-5)
    plain = vae.reconstruct(mean)
    for name, decoded in vae.decode(normalized).items():
        assert torch.allclose(decoded, plain[name], atol=1e-5)


@pytest.mark.parametrize("group", [1, 2])
def test_depth_latents_are_known_where_all_pixels_of_all_their_frames_are(group: int) -> None:
    vae, known = vae_of(group), torch.ones(1, 1 + 2 * group, 1, 8, 12)
    known[0, group, 0, 3, 4] = 0  # the last frame of the second latent frame, block (0, 1)
    latents = vae.encode_known({"depth": known})
    assert latents.shape == vae.encode(video(1 + 2 * group, (8, 12), (1,))).shape
    unknown = torch.zeros_like(latents, dtype=torch.bool)
    unknown[0, 1, 3:, 0, 1] = True
    assert torch.equal(latents, (~unknown).float())


@pytest.mark.parametrize("hw", [(8, 10), (6, 8), (0, 8)])
def test_sides_that_are_no_multiple_of_the_block_are_refused(hw: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="multiples of 4"):
        vae_of().encode(video(1, hw))


def test_frames_that_do_not_fill_their_groups_are_refused_at_the_start_and_later() -> None:
    vae, past = vae_of(2), Past()
    with pytest.raises(InputError, match=r"2 frames; expected 1 \+ a multiple of 2"):
        vae.encode(video(2))
    vae.encode(video(3), past)
    with pytest.raises(InputError, match="3 frames; expected a multiple of 2"):
        vae.encode(video(3), past)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block": 3}, "block 3"),
        ({"group": 0}, "group 0"),
        ({"rgb": BranchConfig(4, (8,), (1, 1), (1,))}, "1 widths"),
        ({"depth": BranchConfig(0, (8,), (1,), (1,))}, "depth"),
    ],
)
def test_impossible_configurations_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ConvVAEConfig(**options)


@pytest.mark.parametrize(("tile", "chunk", "halo"), [(0, 1, 1), (1, 0, 1), (1, 1, -1)])
def test_impossible_tiles_are_refused(tile: int, chunk: int, halo: int) -> None:
    with pytest.raises(InputError, match="tile"):
        vae_of().decode_tiled(torch.randn(1, 1, 6, 2, 2), tile, chunk, halo)
