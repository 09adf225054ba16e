"""Hookgate: an edge verification proxy for bots."""

__version__ = "0.1.0"
