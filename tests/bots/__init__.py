"""Real bots, unmodified, behind a real gate: what their authors' libraries receive and what comes back from them."""
