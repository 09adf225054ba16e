"""The commands as their users run them: a process, its words, its exit code."""
