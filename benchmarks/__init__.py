"""Measurements that are too long for the tests: `python -m benchmarks.NAME` from the root of the repository.

Each prints its tables, exits with 1 where a promise is not kept, and writes them with `--report FILE` in one form
(`benchmarks.shared.report`), from which the documentation makes its results pages.
"""
