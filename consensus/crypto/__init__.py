"""Keys, verifiable random functions and the suites of cryptography, real and modelled."""
