"""Tests of proxy/observe."""
