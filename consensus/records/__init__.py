"""The frozen records that servers sign, send and keep, each with one canonical encoding."""
