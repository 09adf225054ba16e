"""The rules. Each finds; none blocks, none knows another, none does network I/O of its own (the store excepted)."""
