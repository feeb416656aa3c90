"""What a training step is given."""
