"""Behaviours of torture's scenarios alone; one more is a file here."""
