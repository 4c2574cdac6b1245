"""The training methods that come with the package, found by `bfedrec.learning.sections`."""
