"""The loop and what keeps it resumable."""
