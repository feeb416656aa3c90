"""`Solids`: the primitives of single images, each at its image's moment; `Hits`: what rays hit of them."""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor

from geometry.shapes import Float, Int
from geometry.values import as_value
from worldgen.scenes.scene import Scene
from worldgen.scenes.shapes import bounding_radius


@as_value
@dataclass(frozen=True)
class Solids:
    """The primitives of p images, each at its image's moment.

    Attributes:
        kind: [p, n] `Shape`.
        unit_from_world: [p, n, 3, 4] into the unit shape's frame.
        form: [p, n, 2] two numbers that some shapes have.
        center: [p, n, 3] of a ball around each.
        reach: [p, n] radius of that ball; inf = endless, -inf = an empty slot.
        corners: [p, m, 3, 3] triangles of the meshes, in the world.
        owner: [p, m] slots of their primitives, -1 = none.
    """

    kind: Int[Tensor, "p n"]
    unit_from_world: Float[Tensor, "p n 3 4"]
    form: Float[Tensor, "p n 2"]
    center: Float[Tensor, "p n 3"]
    reach: Float[Tensor, "p n"]
    corners: Float[Tensor, "p m 3 3"]
    owner: Int[Tensor, "p m"]

    @staticmethod
    def of(scene: Scene, time_s: Float[Tensor, "b f"]) -> "Solids":
        """The primitives of p = b f images (b-major): each of b scenes at each of its f times [b, f]."""
        frames = time_s.shape[1]
        position, rotation = (rearrange(x, "b f n ... -> (b f) n ...") for x in scene.motion.at(time_s))

        def each(values: Tensor) -> Tensor:
            return values.repeat_interleave(frames, 0)

        kind, size, form = each(scene.kind), each(scene.size), each(scene.form)
        linear = rotation.transpose(-1, -2) / size[..., None]
        affine = torch.cat([linear, -(linear @ position[..., None])], -1)
        owner, local = each(scene.owner), each(scene.triangles)
        slot = owner.clamp_min(0)
        turn = rotation.gather(1, slot[..., None, None].expand(-1, -1, 3, 3))
        shift = position.gather(1, slot[..., None].expand(-1, -1, 3))
        corners = local @ turn.transpose(-1, -2) + shift[:, :, None]
        reach = bounding_radius(kind, size, form)
        return Solids(kind, affine, form, position, reach, corners, owner)


@as_value
@dataclass(frozen=True)
class Hits:
    """What k rays in each of t bundles of p images hit first.

    Attributes:
        t: [p, t, k] ray parameter, inf = nothing.
        slot: [p, t, k] primitive, -1 = none.
        triangle: [p, t, k] of a mesh, -1 = none.
    """

    t: Float[Tensor, "p t k"]
    slot: Int[Tensor, "p t k"]
    triangle: Int[Tensor, "p t k"]
