"""Tests of the stores of claims: what holds for all of them, then what each adds."""
