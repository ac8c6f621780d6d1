"""Checks of a device that `tools/benchmark.py gpu` starts, each file in a process of its own.

A file lists its checks by `checks(place)`; what one of them raises ends no other.
"""
