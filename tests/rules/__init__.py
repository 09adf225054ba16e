"""Tests of proxy/rules."""
