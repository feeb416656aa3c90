"""The nouns: clips, conditioning, normalization, worlds."""
