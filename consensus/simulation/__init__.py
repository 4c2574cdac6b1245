"""The world that hosts the servers of a run, and what it reports of each height."""
