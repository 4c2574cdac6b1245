"""The inference attacks that come with the package, one a file."""
