"""What a network is given beside a batch's frames: cameras, text and a memory render, unless the tasks drop them."""

from dataclasses import replace

from worldgen.core.conditioning import Conditioning, MemoryRender
from worldgen.core.normalization import Normalization
from worldgen.models.world_model import WorldModel
from worldgen.training.batches.batch import Batch


def condition(model: WorldModel, batch: Batch, normalization: Normalization) -> Conditioning:
    """What the network is given beside the frames."""
    tasks, memory = batch.tasks, None
    if batch.memory is not None and model.config.network.memory_channels:
        rgb, depth, visible = batch.memory
        memory = MemoryRender(rgb, depth, visible * tasks.memory[:, None, None, None, None])
    conditioning = model.condition(
        batch.clip.cameras,
        normalization,
        prompt=None if model.text is None else batch.captions,
        memory=memory,
        order=tasks.order if bool((tasks.order > 0).any()) else None,
    )
    mask = conditioning.text_mask
    text_mask = None if mask is None else mask & tasks.text_known[:, None]
    return replace(conditioning, cameras_known=tasks.cameras_known, text_mask=text_mask)
