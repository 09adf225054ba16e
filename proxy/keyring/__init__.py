"""Keys and certificates that stand elsewhere: where they may come from, how long they serve, how they are fetched."""
