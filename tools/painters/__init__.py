"""The paintings' code, one painter a module: `paint(rng, n)` gives a canvas of n x n pixels.

Each lays its composition out in relative coordinates (x to the right, y down, both from 0 to 1). All that is random
is drawn from `rng`, and nothing random depends on n: a seed is one painting, small or large.
"""
