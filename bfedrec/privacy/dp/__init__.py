"""Client-level differential privacy: clipping, noise, and the account of what is spent."""
