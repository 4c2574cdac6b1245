"""The figure of `bfedrec privacy`: the area under the curve of each attack, over a run's rounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bfedrec.report.style import AMBER, BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, save, styled

NAME = "privacy.png"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER, BLACK)
DASHES = ("-", "--", "-.", ":")
Rounds = Sequence[tuple[int, int, list[float]]]
"""Height, attacked updates and mean figures, of which the first is the area under the curve."""


def write_rounds(folder: Path, attacks: Mapping[str, Rounds]) -> None:
    """Draw the attacks, by name, into a run's folder."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for number, (name, rounds) in enumerate(attacks.items()):
            heights = [height for height, _, _ in rounds]
            areas = [figures[0] for _, _, figures in rounds]
            axes.plot(
                heights,
                areas,
                label=name,
                color=COLOURS[number % len(COLOURS)],
                linestyle=DASHES[number % len(DASHES)],
                marker="." if len(heights) < 40 else "",
            )
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        axes.set(xlabel="round", ylabel="area under the ROC curve", ylim=(0.0, 1.02))
        axes.set_title("items of a client told from the others (0.5: nothing is)")
        if attacks:
            axes.legend(ncols=2)
        save(figure, folder / NAME)
