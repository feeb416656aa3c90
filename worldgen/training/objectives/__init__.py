"""What a training step minimizes: a sum of loss terms, of which `TERMS` lists all."""

from worldgen.training.objectives.objective import Objective
from worldgen.training.objectives.term import Progress, Term, TrainingStep
from worldgen.training.objectives.terms import TERMS, TermKind, build_terms

__all__ = [
    "TERMS",
    "Objective",
    "Progress",
    "Term",
    "TermKind",
    "TrainingStep",
    "build_terms",
]
