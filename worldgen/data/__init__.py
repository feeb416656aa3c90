"""Real captures as training clips: found, filtered, made square, and kept in shards.

captures         posed images in files and folders
measures         what filters measure, of images and of neighbors
limits           how captures become clips, and the limits of what is kept
filters          which images make clips, and why the others do not
camera_verbs     a camera's motion in words
shards           clips in WebDataset tar files
curation         captures to shards; `worldgen curate`
curation_report  what was kept and dropped, and why

Names are loaded when they are first asked for: `limits` costs no torch.
"""

from typing import TYPE_CHECKING

from geometry.lazy import lazy

if TYPE_CHECKING:
    from worldgen.data.captures import Capture, find_captures
    from worldgen.data.curation import curate
    from worldgen.data.limits import Curation, Limits
    from worldgen.data.shards import Sample, Shards, ShardStream, write_index, write_shard

__all__ = [
    "Capture", "Curation", "Limits", "Sample", "ShardStream", "Shards", "curate", "find_captures", "write_index",
    "write_shard",
]  # fmt: skip

__getattr__, __dir__ = lazy(
    __name__,
    {
        "captures": ["Capture", "find_captures"],
        "curation": ["curate"],
        "limits": ["Curation", "Limits"],
        "shards": ["Sample", "ShardStream", "Shards", "write_index", "write_shard"],
    },
)
