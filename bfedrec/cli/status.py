"""The exit statuses of the command line; 0 is success."""

from __future__ import annotations

CHECK_FAILED = 1
"""A check of a run, a chain, a table or a scenario failed."""
BAD_INPUT = 2
"""Bad usage, config or data, reported in one line on standard error."""
NOT_RECORDED = 2
"""Runs that a table or a figure needs are not recorded."""
INTERRUPTED = 130
"""Interrupted by a signal; the work can be resumed."""
