"""Placeholder until the numba path lands."""


def trace_cpu(solids, origin, direction):
    from worldgen.scenes.tracing import _trace

    return _trace(solids, origin, direction)
