"""Real captures as training clips: found, squared, judged, and kept in shards."""

from worldgen.data.captures import Capture, find_captures
from worldgen.data.curation import Curation, curate
from worldgen.data.shards import Sample, Shards, ShardStream, write_shard

__all__ = ["Capture", "Curation", "Sample", "ShardStream", "Shards", "curate", "find_captures", "write_shard"]
