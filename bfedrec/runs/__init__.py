"""One run: its folder, its state between rounds, its simulation and its progress."""
