"""The strategies of delivery that configs and torture know, found by their registry."""
