"""Senders that behave as the real ones do, for tests of delivery."""
