"""Figures with the truth beside them: metrics by formula, baselines that need no learning, and reports.

image           PSNR, SSIM and depth errors
baselines       what a model has to beat
intervals       means and paired differences over scenes with bootstrap intervals
answers         what a method says about scenes, and how good it is
comparison      models and baselines on one set of scenes
consistency     whether new views agree with each other
pose            where images were taken from, by rendering and comparing; errors of trajectories
control         whether cameras go where they are told
loops           once round a scene and back
orbit           new views of held-out tabletops from a few images
families        the same of every family of scenes, moving ones included
captures        held-out views of real captures
report          an evaluation as a folder
"""

from worldgen.evaluation.comparison import Geometry
from worldgen.evaluation.metrics.image import depth_errors, psnr, ssim
from worldgen.evaluation.metrics.pose import find_poses, pose_errors
from worldgen.evaluation.report import write_report
from worldgen.evaluation.sets.captures import CapturesEvaluation, evaluate_captures
from worldgen.evaluation.sets.families import FamiliesEvaluation, evaluate_families, family_set
from worldgen.evaluation.sets.orbit import OrbitEvaluation, evaluate_orbit, orbit_set

__all__ = [
    "CapturesEvaluation",
    "FamiliesEvaluation",
    "Geometry",
    "OrbitEvaluation",
    "depth_errors",
    "evaluate_captures",
    "evaluate_families",
    "evaluate_orbit",
    "family_set",
    "find_poses",
    "orbit_set",
    "pose_errors",
    "psnr",
    "ssim",
    "write_report",
]
