"""Stores of replay claims: one small interface, one file a store. A store knows no rule and no request."""
