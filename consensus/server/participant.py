"""The interface between an edge server and its part in a protocol."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from consensus.records.block import Block
from consensus.records.sync import Status
from consensus.records.view import View
from consensus.records.votes import Vote
from consensus.server.message import Kind
from consensus.server.unheard import Credit, Fit, Taken


class Participant(ABC):
    """One server's part in a protocol: it draws, proposes, votes and decides.

    The server (`consensus.server.edge_server.EdgeServer`) makes one for its whole life, begins it
    anew at every height, and hands it the messages and timers that are the protocol's. All that
    the server, and whoever catches it up, may ask of it is here.
    """

    HEIGHT_OF: ClassVar[Mapping[str, Callable[[Any], int]]] = {}
    """By kind: the height during which a message is of use, where it is not the one it names."""

    @abstractmethod
    def handlers(self) -> dict[str, Callable[[Any], bool]]:
        """Handlers of the protocol's messages by kind; each returns True if the message is worth
        passing on, and changes nothing but a counter if it refuses one."""

    # -- a height ---------------------------------------------------------------------------------

    @abstractmethod
    def begin(self) -> None:
        """Begin the protocol of the height."""

    @abstractmethod
    def stage(self) -> View:
        """The attempt and step it is in, for people and for others' help."""

    @abstractmethod
    def on_timer(self, what: str, view: View) -> None:
        """Handle a deadline of the height in progress; one set for what is over does nothing."""

    @abstractmethod
    def on_late_timer(self, what: str, height: int) -> None:
        """Handle a deadline set in a height that is over, or not in progress."""

    @abstractmethod
    def updates_changed(self) -> None:
        """Go on, as the pool has grown, the deadline for updates has passed, or an aggregate has
        come that was lacking."""

    # -- what it need not hear of -----------------------------------------------------------------

    def unheard_updates(self) -> int:
        """The number of further updates, each the first of its client, that may come to the pool
        without a call of `updates_changed`, as that would do nothing."""
        return 0

    def fit(self, kind: str, body: Any) -> Fit | None:
        """Say how servers at the height in progress may take in a message of the protocol unheard;
        None: not at all."""
        return None

    def credits(self) -> Sequence[Credit]:
        """List what it need not hear of in each of the protocol's lanes; nothing in one that is
        left out."""
        return ()

    def ignored(self, decided: Block) -> Sequence[Credit]:
        """List what comes too late, as the height of its head is decided."""
        return ()

    def take_in(self, taken: Iterable[Taken]) -> None:
        """Count messages that were taken in unheard, in the order of their arrival."""
        raise NotImplementedError  # nothing is fit

    def predicament(self) -> str:
        """One clause on what keeps the height from ever ending, if the protocol has no way out of
        it; else nothing."""
        return ""

    def votes_heard(self, phase: str) -> Iterable[Vote]:
        """Return the checked votes of the height in progress, or the last one, in a phase; none of
        a protocol that remembers none."""
        return ()

    # -- blocks -----------------------------------------------------------------------------------

    def goes_on(self, kind: str, body: Any, decided: Block) -> bool:
        """True if a message of the height of the ``decided`` block shows that its sender goes on
        there without it, and may come to decide another one."""
        return False

    @abstractmethod
    def draws_to_check(self, block: Block) -> int:
        """The number of draws that a block carries and this server has not checked before."""

    @abstractmethod
    def block_seen(self, block: bytes) -> None:
        """Note that the head's block, by its CID, goes round among the servers."""

    def known(self, kind: str, body: Any, decided: Block | None) -> tuple[Kind, Any] | None:
        """A checked message (kind and body) that this server has and that makes another needless,
        one of the height in progress or of that of the block ``decided``: it says the same, or
        leads further. None if there is none. The needless message itself has not been checked."""
        return None

    # -- crashes ----------------------------------------------------------------------------------

    strike: Callable[[], None] | None = None
    """A call that makes the server crash as soon as it has written down a promise."""

    def lose_promises(self) -> None:
        """Make what was promised unreadable, as a crash may that tears the record; nothing where
        nothing is promised."""
        return

    def lose_blocks(self, blocks: Sequence[Block]) -> None:
        """Come back without these blocks, the last of the chain; nothing where it makes no
        difference that they were decided."""
        return

    def abstains(self, height: int) -> bool:
        """True if a server that comes back at this height says nothing in it, as it cannot know
        what it has promised there."""
        return False

    def written_height(self) -> int:
        """The height up to which blocks are on the disk for certain, whatever a crash takes."""
        return 0

    @abstractmethod
    def resume(self, written: int) -> None:
        """Stand where it stood in an earlier process, of whose blocks a crash takes none up to
        height ``written``."""

    # -- staying in step --------------------------------------------------------------------------

    @abstractmethod
    def progress(self) -> object:
        """A value that changes for as long as the protocol of the height gets on."""

    @abstractmethod
    def say_again(self) -> None:
        """Repeat what this server said, as it makes no progress."""

    @abstractmethod
    def tickets_held(self) -> tuple[int, ...]:
        """The servers whose tickets are here, in ascending order."""

    @abstractmethod
    def help(self, status: Status) -> Iterable[tuple[Kind, Any]]:
        """The messages (kind and body), but for updates, that a server at the same height may lack,
        those first that it needs first. Less may be sent to it than all."""
