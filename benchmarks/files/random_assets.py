"""Random shapes, cameras and splats, some as small or as odd as they come."""

from dataclasses import dataclass

import torch

from geometry.camera.cameras import Cameras
from geometry.camera.lenses import Lens, LensKind
from geometry.gaussians.splats import Splats
from geometry.io.assets.gltf import MovingMesh
from geometry.mesh.meshes import Mesh, TexturedMesh
from geometry.points.pointclouds import PointCloud
from geometry.rotation.transforms import rigid, rotation_about


@dataclass(frozen=True)
class Assets:
    """Random shapes, some as small or as odd as they come."""

    draw: torch.Generator

    def whole(self, low: int, high: int) -> int:
        """A whole number of low to high."""
        return int(torch.randint(low, high + 1, (), generator=self.draw))

    def normal(self, *shape: int) -> torch.Tensor:
        """Float32 numbers."""
        return torch.randn(shape, generator=self.draw)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Numbers in 0..1, ends included now and then."""
        values = 1.2 * torch.rand(shape, generator=self.draw) - 0.1
        return values.clamp(0, 1)

    def turn(self) -> torch.Tensor:
        """A rotation, float64."""
        return rotation_about(self.normal(3).double(), 3 * self.normal(1)[0].double())

    def poses(self, count: int) -> torch.Tensor:
        """Rigid motions [count, 4, 4], float64."""
        turns = torch.stack([self.turn() for _ in range(count)])
        return rigid(turns, 10 * self.normal(count, 3).double())

    def cloud(self) -> PointCloud:
        """1 to 50 points, half of the clouds with normals."""
        count = self.whole(1, 50)
        normals = torch.nn.functional.normalize(self.normal(count, 3), dim=-1) if self.whole(0, 1) else None
        return PointCloud(10.0 ** self.whole(-3, 4) * self.normal(count, 3), self.uniform(count, 3), normals)

    def mesh(self) -> Mesh:
        """1 to 60 triangles, some flat, half of the meshes with colors."""
        count, faces = self.whole(3, 40), self.whole(1, 60)
        vertices = 10.0 ** self.whole(-3, 4) * self.normal(count, 3)
        colors = self.uniform(count, 3) if self.whole(0, 1) else None
        return Mesh(vertices, torch.randint(0, count, (faces, 3), generator=self.draw), colors)

    def textured(self) -> TexturedMesh:
        """A mesh with a texture of 1 to 9 texels a side."""
        mesh = self.mesh()
        texture = self.uniform(3, self.whole(1, 9), self.whole(1, 9))
        return TexturedMesh(Mesh(mesh.vertices, mesh.faces), self.uniform(len(mesh.vertices), 2), texture)

    def moving(self) -> MovingMesh:
        """A mesh that moves, or stays."""
        moments = self.whole(1, 6)
        time_s = self.uniform(moments).cumsum(0) + torch.arange(moments)
        return MovingMesh("thing", self.mesh(), time_s, self.normal(moments, 3), self.normal(moments, 4))

    def splats(self) -> Splats:
        """1 to 40 Gaussians with harmonics of degree 0 to 3."""
        count, k = self.whole(1, 40), (1, 4, 9, 16)[self.whole(0, 3)]
        parts = self.normal(count, 3), self.normal(count, 4), self.normal(count, 3).exp(), self.uniform(count)
        return Splats(*parts, self.normal(count, k, 3))

    def cameras(self, lenses: bool) -> Cameras:
        """1 to 6 cameras of one size, float64, with a lens in common or none."""
        count, hw = self.whole(1, 6), (self.whole(8, 90), self.whole(8, 90))
        K = torch.zeros(count, 3, 3, dtype=torch.float64)
        K[:, 0, 0], K[:, 1, 1] = (20 + 100 * self.uniform(count).double() for _ in range(2))
        K[:, 0, 2], K[:, 1, 2] = (side * self.uniform(count).double() for side in (hw[1], hw[0]))
        K[:, 2, 2] = 1
        lens = None
        if lenses and self.whole(0, 1):
            kind, most = ((LensKind.OPENCV, 5), (LensKind.FISHEYE, 4))[self.whole(0, 1)]
            lens = Lens.of(kind, (0.05 * self.normal(count, most)).double())
        return Cameras(self.poses(count), K, hw, lens=lens)
