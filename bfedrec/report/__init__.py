"""Tables and figures from recorded runs, and the published cells that they are compared
with."""
