"""A batch's noise and numbers: functions of the step, the place and the seed."""

import torch

from worldgen.training.batches.batch import Batches

CPU = torch.device("cpu")


def test_noise_is_normal_another_in_every_step_and_place_and_the_same_whoever_draws_it(run_of) -> None:
    config = run_of(batch=4, frames=(3,))
    whole = Batches(config, CPU)
    steps = {step: whole.at(step).noise for step in (0, 1, 2)}
    assert torch.equal(steps[1], Batches(config, CPU).at(1).noise)
    every = torch.cat([noise.flatten(1) for noise in steps.values()])
    assert len(every) == 12
    likeness = torch.corrcoef(every) - torch.eye(len(every))
    assert likeness.abs().max() < 0.1, "two clips, or the same place in two steps, share noise"
    assert every.mean().abs() < 0.05 and (every.std() - 1).abs() < 0.05
    halves = [Batches(config, CPU, rank, 2).at(1) for rank in range(2)]
    assert torch.equal(torch.cat([half.noise for half in halves]), steps[1])
    assert torch.equal(torch.cat([half.scale_jitter for half in halves]), whole.at(1).scale_jitter)
