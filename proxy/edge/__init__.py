"""The public side: from a socket to a judged request, and back with an answer."""
