"""What Hookgate costs, beside what others cost: `python -m tests.bench` (`make bench`).

Everything runs on loopback in bounded numbers: a bot and a load generator on one core, the proxy that is timed on another.
Figures drift with the machine; the ratios between proxies of one run are what counts.
"""
