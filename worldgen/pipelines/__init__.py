"""Short compositions of the model, the sampler and geometry."""
