"""The sets that models are evaluated on.

evaluation_set  what a set is: parts, each of scenes recorded alike, and what a report states about them
orbit           held-out tabletops, cameras on arcs of several widths
families        held-out scenes of every family, moving ones included
captures        held-out views of real captures
"""
