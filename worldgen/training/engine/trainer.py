"""The training loop: resumable at any step, exactly, because every batch is a function of its step alone.

On several processes each computes its share of the batch; the result is the same as on one, but for rounding.
"""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor, nn

from geometry.errors import InputError
from worldgen.models.world_model import WorldModel
from worldgen.runtime.devices import pick_device
from worldgen.runtime.rng import fresh_weights
from worldgen.training.batches.batch import Batches
from worldgen.training.config.run import RunConfig
from worldgen.training.engine.distributed import Ranks, whole
from worldgen.training.engine.resumable import Resumable
from worldgen.training.objectives.objective import Objective
from worldgen.training.objectives.term import Progress, Term
from worldgen.training.objectives.terms import build_terms


class Trainer(Resumable):
    """A model's run: `for record in trainer.steps(): ...` trains to the end, resuming from the run's own checkpoint.

    Args:
        config: The run.
        ranks: This process among those that train together (`worldgen.training.engine.distributed.joined`); None = it
            is alone.

    Raises:
        InputError: A device, a model or a checkpoint that does not fit the run.
    """

    def __init__(self, config: RunConfig, ranks: Ranks | None = None):
        super().__init__(config, Ranks(pick_device(config.train.device)) if ranks is None else ranks)
        self.config, self.device = config, self.ranks.device
        self.batches = Batches(config, self.device, *self.ranks.share)
        self._check_shares()
        self.model = self._fresh_model()
        for frozen in (self.model.vae, self.model.coarse):
            if frozen is not None:
                frozen.to(self.device)
        self.terms: dict[str, Term] = build_terms(self.model, config)
        objective = Objective(self.model, self.terms, config.train.precision)
        self.objective = self.ranks.wrap(objective, list(self.model.network.blocks))
        self._start()
        self._check_agreement()

    def _check_shares(self) -> None:
        """Raises InputError when some stage's clips or frames can't be shared evenly."""
        size = 1 if self.ranks.context is None else self.ranks.context.size
        for stage in self.config.stages:
            self.batches.stream.places(stage)
            if any(frames % size for frames in stage.frames):
                raise InputError(
                    f"clips of {list(stage.frames)} frames for {size} processes each (train.context_parallel); "
                    "expected multiples"
                )

    def _check_agreement(self) -> None:
        """Raises InputError when the processes would not resume from the same step."""
        steps = self.ranks.gathered(torch.tensor([float(self.step)], device=self.device)).flatten().tolist()
        if len(set(steps)) > 1:
            raise InputError(
                f"the processes found checkpoints of steps {[int(step) for step in steps]} in {self.config.output}; "
                "expected an output folder that all nodes share"
            )

    def _fresh_model(self) -> WorldModel:
        model = self._start_model()
        if self.config.train.compile:
            for block in model.network.blocks:
                block.compile()
        return model

    def _start_model(self) -> WorldModel:
        """The model before its first step."""
        config, checkpointing, context = self.config, self.config.train.checkpointing, self.ranks.context
        if config.train.start_from is None:
            with fresh_weights(config.train.seed):
                return WorldModel.create(config.model, checkpointing=checkpointing, context=context)
        start = WorldModel.load(config.train.start_from, "cpu")
        return start.grown(config.model, checkpointing=checkpointing, context=context).training(True)

    @property
    def beside(self) -> dict[str, Term]:
        """Terms with weights of their own, which are trained beside the model's and averaged by nobody."""
        return {name: term for name, term in self.terms.items() if any(True for _ in term.parameters())}

    def state(self) -> dict[str, Tensor]:
        """All tensors of the model by name."""
        return self.model.state()

    def parameters(self) -> Sequence[tuple[str, nn.Parameter]]:
        """All trained parameters by name."""
        beside = [pair for name, term in self.beside.items() for pair in term.named_parameters(prefix=name)]
        return [*self.model.parameters(), *beside]

    def _kept(self) -> list[tuple[str, dict[str, Tensor]]]:
        return [*super()._kept(), *((name, term.state_dict()) for name, term in self.beside.items())]

    def loss(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of this rank's clips of the step, and its parts."""
        return self.objective(self.batches.at(self.step), Progress(self.step, self.total))

    def averaged(self) -> WorldModel:
        """The model with averaged weights, whole: the one to evaluate and keep. On the main rank's device; the others'
        is on the CPU."""
        model = WorldModel.create(self.config.model, deepcopy(self.model.vae), coarse=deepcopy(self.model.coarse))
        model.load_state({name: whole(value).cpu() for name, value in self.ema.items()})
        return model.training(False).to(self.device if self.ranks.main else "cpu")

    def keep(self, averaged: WorldModel, folder: Path) -> None:
        """Write the averaged model, as the run leaves it."""
        averaged.save(folder, int8=True)
