"""The lineage of models as the record shows it."""

from __future__ import annotations

from bfedrec.web.portal.lineage import Mark, lines
from consensus.ethereum.records import Model, Publication, Round


def model(name: str) -> Model:
    return Model(name.encode(), name.encode())


def test_an_aggregate_has_no_samples_of_a_model_that_was_refused() -> None:
    """A merchant may claim any number of samples for bytes that nobody can use."""
    good, bad = Publication("0xA", model("good"), 5), Publication("0xB", model("bad"), 10**12)
    aggregate = model("aggregate")
    round = Round(1, True, model("initial"), ("0xA", "0xB"), (good, bad), (), aggregate)
    marks = {
        (1, "0xA", good.model): Mark(True),
        (1, "0xB", bad.model): Mark(False, "nothing is stored at its address"),
        (1, "", aggregate): Mark(True),
    }
    shown = {each.who: each.samples for each in lines([round], {}, marks)}
    assert shown == {"0xA": 5, "0xB": 10**12, "all": 5}
    # What was said, as long as nobody has looked.
    assert lines([round], {}, {})[0].samples == 10**12 + 5
