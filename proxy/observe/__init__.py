"""What Hookgate tells: metrics and one log line an exchange. Observers see only the finished ``Exchange``."""
