"""Tests of what is shipped for running Hookgate: images, manifests, units, alert rules."""
