"""The training objective: a sum of loss terms."""

from collections.abc import Mapping

from torch import Tensor, nn

from worldgen.models.world_model import WorldModel
from worldgen.training.batches.batch import Batch
from worldgen.training.objectives.term import Progress, Term, TrainingStep


class Objective(nn.Module):
    """A step's loss. One module, so that data parallelism has something to wrap.

    Args:
        model: The model that is trained.
        terms: What is added up, by name, in this order (`worldgen.training.objectives.terms.TERMS`).
        precision: Of the network's products (`TrainConfig.precision`).
    """

    def __init__(self, model: WorldModel, terms: Mapping[str, Term], precision: str = "fp32"):
        super().__init__()
        self.model, self.precision = model, precision
        self.network, self.words = model.network, model.words
        self.terms = nn.ModuleDict(terms)

    def forward(self, batch: Batch, progress: Progress) -> tuple[Tensor, dict[str, Tensor]]:
        """Add up the terms.

        Args:
            batch: The step's clips.
            progress: How far the run is.

        Returns:
            The total, and its parts by name.
        """
        taps = [term.tap(progress) for term in self.terms.values() if isinstance(term, Term)]
        blocks = {block for block in taps if block is not None}
        assert len(blocks) <= 1, f"blocks {blocks} are tapped; expected at most one"
        step = TrainingStep(self.model, batch, progress, self.precision, blocks.pop() if blocks else None)
        total, parts = None, {}
        for term in self.terms.values():
            value, own = term(step)
            total = value if total is None else total + value
            parts |= own
        assert total is not None, "an objective without terms"
        return total, parts
