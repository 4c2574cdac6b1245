"""A group under secure aggregation: what is opened is the sum of those who stayed, or nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bfedrec.privacy.secure.masks import Lanes
from bfedrec.privacy.secure.member import Member
from bfedrec.privacy.secure.messages import HEAD, Masked, Setup, Unmask, set_of
from bfedrec.privacy.secure.opening import Opening
from bfedrec.privacy.secure.scheme import Scheme
from bfedrec.privacy.secure.violations import VIOLATIONS
from tests.helpers.masked_group import SMALL, Group


def check_sum(group: Group, opening: Opening, members: set[int]) -> None:
    """The only group is opened as the sum in the clear of these members."""
    (opened,) = opening.groups
    levels, counts = group.sums(members)
    numbers = {group.members[place].number for place in members}
    assert set(opened.members) == numbers
    assert np.array_equal(opened.levels, levels)
    if group.scheme.counted:
        assert np.array_equal(opened.counts, counts)
    assert opening.dropped == {}


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_masks_cancel_whoever_leaves_and_when(data: st.DataObject) -> None:
    """Exactly where enough of each member's neighbours stay: else nothing is opened."""
    most = data.draw(st.integers(3, 14))
    neighbours = 2 * data.draw(st.integers(0, (most - 1) // 2))
    counted, levels = data.draw(st.booleans()), data.draw(st.integers(1, 40))
    scheme = Scheme(2, 7, levels, counted, most, neighbours)
    size = data.draw(st.integers(3, most))
    group = Group.of(scheme, size, data.draw(st.integers(0, 2**32)))
    places = st.sets(st.integers(0, size - 1), max_size=max(1, size // 3))
    gone = [data.draw(places) for _ in range(3)]
    opening = group.play(*gone)
    threshold, there = scheme.threshold(size), set(range(size))
    set_up = there - gone[0]
    masked = {
        place
        for place in set_up - gone[1]
        if len(set_up.intersection(scheme.closed(size, place))) >= threshold
    }
    giving = masked - gone[2] if len(masked) >= threshold else set()
    enough = giving and all(
        len(giving.intersection(scheme.closed(size, place))) >= threshold for place in set_up
    )
    if enough:
        check_sum(group, opening, masked)
    else:
        assert opening.groups == ()
        assert sum(opening.dropped.values()) == (1 if group.setups else 0)
    assert opening.accused == {}


@pytest.mark.parametrize("wave", ["no_setup", "no_mask", "no_shares"])
def test_a_fifth_of_a_group_of_15_may_leave_and_one_more_than_the_threshold_not(wave: str) -> None:
    scheme = Scheme(3, 10, 8, True, 15)
    assert scheme.threshold(15) == 11
    for leaving, recovered in ((3, True), (4, True), (5, False)):
        group = Group.of(scheme, 15, leaving)
        opening = group.play(**{wave: range(leaving)})
        left = set(range(15)) - (set() if wave == "no_shares" else set(range(leaving)))
        if recovered:
            check_sum(group, opening, left)
        else:
            assert opening.groups == ()
            assert sum(opening.dropped.values()) == 1


def test_members_do_not_unmask_fewer_than_the_threshold() -> None:
    """The members themselves refuse: nothing is revealed, whatever a server says."""
    group = Group.of(Scheme(3, 10, 8, True, 15), 15)
    group.set_up()
    member = group.members[0]
    whole = (1 << 15) - 1
    assert member.unmask(group.setups, whole, (1 << 10) - 1) is None
    assert member.unmask(group.setups, whole, (1 << 11) - 1) is not None
    assert member.unmask(group.setups, (1 << 14) - 1, whole) is None  # not of the roster
    few = {place: group.setups[place] for place in range(10)}
    nothing = np.zeros((3, 10), np.int64)
    lanes = Lanes.of(group.scheme, nothing, np.zeros(10, np.bool_))
    assert member.masked(lanes, few) is None


@pytest.mark.parametrize("neighbours", [4, 8, 20])
def test_members_do_not_unmask_a_survivor_without_its_neighbours(neighbours: int) -> None:
    """On a ring as many survivors as the threshold may be out of a survivor's reach: its own masks
    are then known, and with them its update."""
    group = Group.of(Scheme(3, 10, 8, True, 60, neighbours), 60)
    group.set_up()
    far = {0, *range(30, 29 + group.scheme.threshold(60))}
    whole = (1 << 60) - 1
    assert len(far) == group.scheme.threshold(60)
    assert far & set(group.scheme.closed(60, 0)) == {0}
    for member in group.members.values():
        assert member.unmask(group.setups, whole, set_of(far)) is None
        assert member.unmask(group.setups, whole, whole & ~2) is not None


@pytest.mark.parametrize("seed", range(4))
def test_of_nobody_both_secrets_are_given(seed: int) -> None:
    group = Group.of(SMALL, 9, seed)
    group.set_up()
    for survivors in (0b111111111, 0b011111110):
        for member in group.members.values():
            payload = member.unmask(group.setups, 0b111111111, survivors)
            assert payload is not None
            shares = Unmask.decode(SMALL, payload).shares
            for place, share in shares.items():
                dealt = group.members[place]._dealt[member.position]
                kept, given = dealt[:32], dealt[32:]
                assert share == (given if survivors >> place & 1 else kept)


def test_honest_members_told_different_survivors_open_neither() -> None:
    """More than two thirds must agree: a server that shows two halves different survivors gets the
    self-mask and the key of no member."""
    group = Group.of(SMALL, 9)
    group.set_up()
    group.mask()
    for place, member in group.members.items():
        survivors = 0b111111111 if place < 5 else 0b111111110
        payload = member.unmask(group.setups, 0b111111111, survivors)
        assert payload is not None
        group.sent.append(payload)
    opening = group.open()
    assert opening.dropped == {"too few shares": 1}


@pytest.mark.parametrize(
    ("how", "dropped", "accused"),
    [
        ("garbage", {"sum out of range": 1}, 0),
        ("false_shares", {}, 1),
        ("false_dealing", {"false shares dealt": 1}, 1),
        ("silence", {}, 0),
        ("other_roster", {}, 0),
    ],
)
def test_one_violator_drops_its_group_or_is_left_out(
    how: str, dropped: dict[str, int], accused: int
) -> None:
    group = Group.of(SMALL, 9, kinds={2: VIOLATIONS[how]})
    group.set_up()
    group.mask()
    if how == "other_roster":
        group.masked.discard(2)
    group.unmask()
    opening = group.open()
    assert opening.dropped == dropped
    assert set(opening.accused) == ({group.members[2].number} if accused else set())
    if not dropped:
        check_sum(group, opening, set(range(9)) - ({2} if how == "other_roster" else set()))


@pytest.mark.parametrize("how", VIOLATIONS)
@pytest.mark.parametrize("there", [{0, 2}, {2}, {0}, set()])
def test_a_violator_of_whose_group_hardly_anybody_comes_masks_nothing(
    how: str, there: set[int]
) -> None:
    group = Group.of(SMALL, 9, kinds={2: VIOLATIONS[how]})
    group.set_up(without=set(range(9)) - there)
    lanes = Lanes.of(SMALL, group.levels[2], group.touched[2])
    assert group.members[2].masked(lanes, group.setups) is None
    group.mask()
    group.unmask()
    assert group.masked == set()
    assert group.open().groups == ()


@pytest.mark.parametrize("leaves", [[], [2]])
def test_a_dealer_of_false_shares_is_named(leaves: list[int]) -> None:
    group = Group.of(SMALL, 9, kinds={2: VIOLATIONS["false_dealing"]})
    opening = group.play(no_mask=leaves)
    assert opening.dropped == {"false shares dealt": 1}
    assert opening.accused == {group.members[2].number: "shares that do not give its own secret"}


def test_an_honest_member_gives_no_share_that_its_dealer_would_disown() -> None:
    """A dealer that seals something else than it commits to accuses nobody."""
    group = Group.of(SMALL, 9)
    group.set_up()
    dealer = group.members[4]
    spoiled = group.setups[4].encode(SMALL)
    at = HEAD + 1 + 4 * 9 + 32
    spoiled = spoiled[:at] + bytes(64 * 3) + spoiled[at + 64 * 3 :]
    group.sent[4], group.setups[4] = spoiled, type(group.setups[4]).decode(SMALL, spoiled)
    group.mask()
    group.unmask()
    opening = group.open()
    assert opening.accused == {}
    assert opening.dropped == {"too few shares": 1}  # 6 of 9 hold good shares; 7 are needed
    assert dealer.threshold == 7


def test_two_setups_of_a_dealer_are_what_makes_an_honest_member_look_guilty() -> None:
    group = Group.of(SMALL, 9)
    group.set_up()
    group.mask()
    dealer, shown = group.members[4], dict(group.setups)
    again = Member(SMALL, dealer.group, dealer.number, group.beacon, bytes(32), dealer._agree)
    shown[4] = Setup.decode(SMALL, again.setup())
    for place in sorted(group.masked):
        setups = shown if place == 7 else group.setups
        payload = group.members[place].unmask(setups, set_of(setups), set_of(group.masked))
        assert payload is not None
        group.sent.append(payload)
    told = "a share that is not the one committed to"
    assert group.open().accused == {group.members[7].number: told}
    group.sent[4] = again.setup()  # which member 7 can show
    assert group.members[7].number not in group.open().accused


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_changed_message_changes_no_sum_unseen(data: st.DataObject) -> None:
    """A bit turned in any message drops the group, is refused, accuses, or changes nothing."""
    from bfedrec.privacy.secure.messages import flaw

    group = Group.of(SMALL, 9, 3)
    honest = group.play(no_mask=[5])
    which = data.draw(st.integers(0, len(group.sent) - 1))
    payload = bytearray(group.sent[which])
    bit = data.draw(st.integers(8 * HEAD, 8 * len(payload) - 1))
    payload[bit // 8] ^= 1 << bit % 8
    if flaw(SMALL, bytes(payload)) is not None:
        return
    body = HEAD + SMALL.map_size
    group.sent[which] = bytes(payload)
    found = group.open()
    if payload[0] == 1 and bit >= 8 * body and found.groups:
        # What a client sends is its own business, as long as the sum is in range.
        assert found.groups[0].members == honest.groups[0].members
        return
    for opened in found.groups:
        if opened.members == honest.groups[0].members:
            assert np.array_equal(opened.levels, honest.groups[0].levels)
        else:
            levels, _ = group.sums(
                [p for p, m in group.members.items() if m.number in opened.members]
            )
            assert np.array_equal(opened.levels, levels)


def test_the_order_of_messages_does_not_matter() -> None:
    group = Group.of(SMALL, 9)
    first = group.play(no_mask=[1])
    group.sent.reverse()
    assert np.array_equal(group.open().groups[0].levels, first.groups[0].levels)


def test_a_sum_beyond_what_its_members_touched_is_dropped() -> None:
    group = Group.of(SMALL, 9)
    group.levels[3] = group.levels[3] * 0 + 4
    group.touched[3][:] = False  # it says that it touched nothing
    for place in group.members:
        group.touched[place][0] = False
        group.levels[place][:, 0] = 4 if place == 3 else 0
    assert group.play().dropped == {"sum out of range": 1}


def test_masked_updates_show_their_roster_alone() -> None:
    group = Group.of(SMALL, 9)
    group.set_up()
    group.mask()
    first = Masked.decode(SMALL, group.sent[9])
    assert first.roster == 0b111111111
    assert len(first.body) == SMALL.body_size


def test_messages_of_a_group_of_15_have_the_documented_sizes() -> None:
    scheme = Scheme(25, 3706, 10, True, 15, lane_bits=6)
    assert (scheme.bits, scheme.count_bits, scheme.body_size) == (6, 4, 71_341)
    assert Scheme(25, 3706, 10, True, 15).bits == 9
    group = Group.of(Scheme(3, 10, 8, True, 15), 15)
    group.play()
    assert {len(payload) for payload in group.sent if payload[0] == 0} == {1490}
    assert {len(payload) for payload in group.sent if payload[0] == 2} == {489}


def test_a_sum_above_the_levels_of_those_who_touched_an_item_is_dropped() -> None:
    """One level more than L times the count is too much; L times it is not."""
    for more, dropped in ((0, {}), (1, {"sum out of range": 1})):
        group = Group.of(SMALL, 9)
        for place in group.members:
            group.touched[place][0] = place in (3, 4)
            group.levels[place][:, 0] = 4 * (place in (3, 4))
        group.levels[3][0, 0] += more
        assert group.play().dropped == dropped


def test_noise_is_seen_where_nothing_is_counted() -> None:
    group = Group.of(Scheme(3, 40, 4, False, 9), 9, kinds={2: VIOLATIONS["garbage"]})
    assert group.play().dropped == {"sum out of range": 1}


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_sums_in_narrow_lanes_are_whole_where_they_fit_and_right_modulo_their_size(
    data: st.DataObject,
) -> None:
    levels = data.draw(st.integers(1, 12))
    least, whole = (2 * levels).bit_length(), (2 * 9 * levels).bit_length()
    bits = data.draw(st.integers(least, whole - 1))
    scheme = Scheme(3, 10, levels, data.draw(st.booleans()), 9, lane_bits=bits)
    group = Group.of(scheme, 9, data.draw(st.integers(0, 2**32)))
    opening = group.play(no_mask=data.draw(st.sets(st.integers(0, 8), max_size=2)))
    (opened,) = opening.groups
    exact, counts = group.sums([p for p, m in group.members.items() if m.number in opened.members])
    half = 1 << (bits - 1)
    fits = (exact >= -half) & (exact < half)
    assert np.array_equal(opened.levels[fits], exact[fits])
    assert not ((opened.levels - exact) % (2 * half)).any()
    assert not scheme.counted or np.array_equal(opened.counts, counts)
