"""Speed beside other libraries, as ratios taken in one process."""
