"""The gate: what the rules' findings count for, and the one table of rules in order."""
