"""Every option of an experiment: its schema, its help, and how it is read from YAML and
`key=value`."""
