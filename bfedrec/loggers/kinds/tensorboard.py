"""TensorBoard's event files, in the run's folder."""

from __future__ import annotations

import logging
import shutil
import time
from typing import TYPE_CHECKING

from bfedrec.loggers.logger import Line, Logger, Subject, logger

if TYPE_CHECKING:
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

# NumPy logs what libraries do to it; so does TensorBoard, of files that a kill has torn.
logging.getLogger("tensorboard").setLevel(logging.ERROR)


@logger("tensorboard", place=1)
class TensorBoard(Logger):
    """One scalar per number, one event per line; the step is the height.

    The writer of TensorBoard itself, and that of PyTorch, round to float32. These scalars are
    float64, which every reader of TensorBoard understands, so that they equal metrics.jsonl.
    """

    meaning = "event files in RUN/tensorboard"
    library = "tensorboard"
    extra = "'bfedrec[loggers]'"

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject)
        self._folder = subject.folder / "tensorboard"
        self._writer: EventFileWriter | None = None

    def lines(self) -> list[Line]:
        """The events of all files, in the order of writing."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
        from tensorboard.util.tensor_util import make_ndarray

        events = [
            event
            for path in self._folder.glob("events.out.tfevents.*")
            for event in EventFileLoader(str(path)).Load()
            if event.HasField("summary")
        ]
        return [
            {
                "height": event.step,
                **{value.tag: make_ndarray(value.tensor).item() for value in event.summary.value},
            }
            for event in sorted(events, key=lambda event: event.step)
        ]

    def clear(self) -> None:
        """Delete the event files."""
        if self._folder.exists():
            shutil.rmtree(self._folder)

    def add(self, line: Line) -> None:
        """Append an event, and flush it to the file."""
        import numpy as np
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.scalar.metadata import create_summary_metadata
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
        from tensorboard.util.tensor_util import make_tensor_proto

        if self._writer is None:
            self._writer = EventFileWriter(str(self._folder))
        metadata = create_summary_metadata(display_name="", description="")
        values = [
            Summary.Value(tag=name, tensor=make_tensor_proto(np.float64(value)), metadata=metadata)
            for name, value in line.items()
            if name != "height"
        ]
        step = int(line["height"])
        self._writer.add_event(
            Event(step=step, wall_time=time.time(), summary=Summary(value=values))
        )
        self._writer.flush()

    def close(self, finished: bool) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
