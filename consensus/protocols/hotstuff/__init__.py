"""`protocol: hotstuff`: Basic HotStuff, its phases led by one member a view; README.md argues."""
