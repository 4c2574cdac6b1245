"""The strategies of adaptive corruption that configs know, found by their registry."""
