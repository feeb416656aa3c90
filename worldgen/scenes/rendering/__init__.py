"""Exact ray casting of closed-form scenes.

renderer   `render`: a scene and its cameras to a clip with its truths
tracing    `trace`: what rays hit first
solids     the primitives of single images, and hits
bundles    rays of images in square bundles
constants  numbers that both renderers share
torch      the reference, on any device, in any float type, with gradients
numba      the same compiled for a CPU, several times faster
"""

from worldgen.scenes.rendering.renderer import TRUTHS, render
from worldgen.scenes.rendering.solids import Hits, Solids
from worldgen.scenes.rendering.tracing import trace

__all__ = ["TRUTHS", "Hits", "Solids", "render", "trace"]
