"""The one way in which a measurement fails: with words that name the part and what it did."""


class BenchError(Exception):
    """A proxy, the bot or a generator did not do what the measurement needs; the message says which and what."""
