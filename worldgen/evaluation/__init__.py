"""Figures with the truth beside them: metrics by formula, baselines that need no learning, and reports.

run          `evaluate`: models on a set, from beginning to end
sets         what models are evaluated on: orbits, families, captures, or one's own
metrics      PSNR, SSIM, sharpness, FLIP, depth errors, consistency, poses, loops; bootstrap intervals
baselines    what a model has to beat
predictions  what a method predicts, and how good it is
enlarging    a model on frames larger than it makes
comparison   models and baselines on one part of a set
sheets       contact sheets
report       typed results, and as plain data
markdown     results as readable tables
codec        how well a codec keeps images and depth
"""

from worldgen.evaluation.comparison import SpatialMetrics
from worldgen.evaluation.metrics.image import depth_errors, psnr, ssim
from worldgen.evaluation.metrics.intervals import Interval, interval, paired_difference
from worldgen.evaluation.metrics.perceptual import flip_error, sharpness
from worldgen.evaluation.metrics.pose import find_poses, pose_errors
from worldgen.evaluation.report import PartResult, Report
from worldgen.evaluation.run import evaluate, write_report
from worldgen.evaluation.sets.captures import CapturesConfig, CapturesSet
from worldgen.evaluation.sets.evaluation_set import EvaluationSet, Part, SetInfo, Truth
from worldgen.evaluation.sets.families import FamiliesSet
from worldgen.evaluation.sets.orbit import OrbitSet

__all__ = [
    "CapturesConfig",
    "CapturesSet",
    "EvaluationSet",
    "FamiliesSet",
    "Interval",
    "OrbitSet",
    "Part",
    "PartResult",
    "Report",
    "SetInfo",
    "SpatialMetrics",
    "Truth",
    "depth_errors",
    "evaluate",
    "find_poses",
    "flip_error",
    "interval",
    "paired_difference",
    "pose_errors",
    "psnr",
    "sharpness",
    "ssim",
    "write_report",
]
