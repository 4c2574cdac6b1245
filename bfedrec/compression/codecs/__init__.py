"""The codecs that come with the package: a file each, found by `bfedrec.compression.registry`."""
