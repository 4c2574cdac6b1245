"""The strategies of delays that configs and torture know, found by their registry."""
