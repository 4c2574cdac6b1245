"""The attacks by clients that come with the package, found by `bfedrec.attacks.settings`."""
