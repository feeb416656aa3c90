"""Training on endless scenes: configuration, data, loss, loop, checkpoints."""
