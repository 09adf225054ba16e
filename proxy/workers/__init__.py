"""Several processes that serve one policy, and the parent that starts, heeds and sums them."""
