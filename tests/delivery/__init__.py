"""Proofs that what is sent arrives once and is never lost, whatever dies meanwhile."""
