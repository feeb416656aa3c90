"""`MultiViewUNet`: looks up in known frames what they show of the others, by a cost volume, and generates the rest.

config    its shape
lookup    where pixels of one frame lie in others, at given depths
matching  how well frames agree at depths
layers    convolutions, mixing along time, attention across views
inputs    frames, rays and neighbors, computed once
blending  colors from what was looked up and of its own
network   all of it in one pass
"""
