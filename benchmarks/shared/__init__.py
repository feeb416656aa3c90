"""What several benchmarks use: fair timing, views predicted of held-out scenes, the use of a device's arithmetic."""
