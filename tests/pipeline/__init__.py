"""Tests of proxy/pipeline."""
