"""Figures with the truth beside them: metrics by formula, baselines that need no learning, and reports.

image      PSNR, SSIM and depth errors
baselines  what a model has to beat
intervals  means over scenes with bootstrap intervals
orbit      new views of held-out scenes from a few pictures
report     an evaluation as a folder
"""

from worldgen.evaluation.baselines import nearest_camera
from worldgen.evaluation.image import depth_errors, psnr, ssim
from worldgen.evaluation.orbit import OrbitEvaluation, evaluate_orbit, orbit_set
from worldgen.evaluation.report import write_report

__all__ = [
    "OrbitEvaluation",
    "depth_errors",
    "evaluate_orbit",
    "nearest_camera",
    "orbit_set",
    "psnr",
    "ssim",
    "write_report",
]
