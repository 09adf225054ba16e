"""Tests of ``proxy/policy``: a file for each room, and policies good and bad as files."""
