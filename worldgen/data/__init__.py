"""Real captures as training clips: found, filtered, made square, and kept in shards.

captures         posed images in files and folders
measures         what filters measure, of images and of neighbors
filters          which images make clips, and why the others do not
camera_verbs     a camera's motion in words
shards           clips in WebDataset tar files
curation         captures to shards; `worldgen curate`
curation_report  what was kept and dropped, and why
"""

from worldgen.data.captures import Capture, find_captures
from worldgen.data.curation import Curation, curate
from worldgen.data.filters import Limits
from worldgen.data.shards import Sample, Shards, ShardStream, write_index, write_shard

__all__ = [
    "Capture", "Curation", "Limits", "Sample", "ShardStream", "Shards", "curate", "find_captures", "write_index",
    "write_shard",
]  # fmt: skip
