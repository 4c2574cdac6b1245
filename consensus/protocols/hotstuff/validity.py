"""The validity rules of `hotstuff` alone: what its certificates are, and what lets a view begin.
Those of its committees are in `consensus.protocols.bft.standing`.
"""

from __future__ import annotations

from consensus.ledger.validity import Head, InvalidBlock, SortitionOf, check_certificate
from consensus.protocols.bft.standing import check_round, sortition_of
from consensus.protocols.bft.validity import check_no_later, check_timeout_entries
from consensus.protocols.hotstuff.state import COMMIT, PREPARE
from consensus.records.genesis import Genesis
from consensus.records.votes import Certificate, Timeout, TimeoutCertificate


def check_shown(
    genesis: Genesis, head: Head, found: Certificate, sortition: SortitionOf = sortition_of
) -> None:
    """Check a prepareQC or precommitQC: like votes of more than two thirds of the committee of
    height + 1, in one view. Raises `InvalidBlock`."""
    check_round(found.step)
    if found.phase == COMMIT:
        raise InvalidBlock("a decision is shown as a block")
    committee = sortition(genesis, head, 0).committee  # that of all attempts
    check_certificate(genesis, head.height + 1, committee, found, found.phase)


def check_new_view(
    genesis: Genesis, head: Head, left: Timeout, sortition: SortitionOf = sortition_of
) -> None:
    """Check a new-view message, but for its signature. Raises `InvalidBlock`."""
    check_round(left.step)
    if left.everyone:
        raise InvalidBlock("members alone leave a view")
    if left.lock is not None:
        check_no_later(left.lock, left)
        _check_prepared(genesis, head, left.lock, sortition)


def check_new_views(
    genesis: Genesis, head: Head, found: TimeoutCertificate, sortition: SortitionOf = sortition_of
) -> None:
    """Check the new-view messages of more than two thirds of the committee of height + 1, with the
    highest prepareQC that they name. Raises `InvalidBlock`."""
    check_round(found.step)
    if found.everyone:
        raise InvalidBlock("members alone leave a view")
    check_timeout_entries(genesis, head, found, sortition)
    if found.lock is not None:
        _check_prepared(genesis, head, found.lock, sortition)


def _check_prepared(
    genesis: Genesis, head: Head, found: Certificate, sortition: SortitionOf
) -> None:
    if found.phase != PREPARE:
        raise InvalidBlock("a new-view message names a prepareQC")
    check_shown(genesis, head, found, sortition)
