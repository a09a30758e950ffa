"""Histories of a simulated world, each from its seed, in which nothing may go wrong for good."""
