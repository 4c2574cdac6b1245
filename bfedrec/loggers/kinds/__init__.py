"""The loggers that come with the package, a file each."""
