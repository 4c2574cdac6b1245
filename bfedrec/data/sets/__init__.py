"""The data sets that come with the package: a file each, found by `bfedrec.data.catalogue`."""
