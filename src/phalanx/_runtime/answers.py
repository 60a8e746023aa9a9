"""What the records of the result channel mean to the shell: one function for each kind."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

from phalanx._runtime import events as e
from phalanx._runtime.failures import unpack_failure
from phalanx._runtime.records import ANSWER, UNREADABLE, Answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from phalanx._runtime.calls import Flight
    from phalanx._runtime.shell import Shell

__all__ = ["ANSWERS"]


def _on_results(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    _, _, _, _, sequence, first, count, _, _, elapsed_ns = ANSWER.unpack_from(data)
    flight = shell.flights.get(sequence)
    if flight is not None:
        shell.deliver(flight, first, count, data, ANSWER.size, elapsed_ns)


def _on_large(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    flight, index = _flight_and_index(shell, data)
    if flight is None or flight.next != index:
        return
    try:
        value = pickle.loads(buffers[0], buffers=buffers[1:])
    except BaseException as error:  # noqa: BLE001  # whatever rebuilding raises is that task's error
        shell.fail_task(flight, index, shell.unreadable(error))
    else:
        shell.deliver_one(flight, value)


def _on_raised(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    flight, index = _flight_and_index(shell, data)
    if flight is not None:
        error = unpack_failure(data[ANSWER.size :])
        shell.fail_task(flight, index, shell.unreadable(error) if data[1] & UNREADABLE else error)


def _on_gave_back(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    _, _, _, _, sequence, _, _, end, _, _ = ANSWER.unpack_from(data)
    flight = shell.flights.get(sequence)
    if flight is not None:
        flight.stop = flight.start + end
        shell.tell(e.Cut(sequence, flight.stop))


def _on_unreadable(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    sequence = ANSWER.unpack_from(data)[4]
    if sequence in shell.flights:
        shell.tell(e.Returned(sequence))


def _on_unknown_function(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    flight = shell.flights.get(ANSWER.unpack_from(data)[4])
    if flight is None:
        return
    if flight.function is not flight.call.function or shell.send_by_value(flight.call):
        shell.tell(e.Returned(flight.number, is_single=False))
        return
    error = unpack_failure(data[ANSWER.size :])
    for index in range(flight.next, flight.stop):
        shell.fail_task(flight, index, error)


def _on_ready(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    shell.tell(e.Ready(ANSWER.unpack_from(data)[4]))


def _on_initializer_failed(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    shell.tell(e.InitializerFailed(ANSWER.unpack_from(data)[4], unpack_failure(data[ANSWER.size :])))


def _on_ended(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    shell.worker_ended(ANSWER.unpack_from(data)[4])


def _on_nudge(shell: Shell, data: bytes, buffers: list[Any]) -> None:
    """The collector is awake: that was all."""


def _flight_and_index(shell: Shell, data: bytes) -> tuple[Flight | None, int]:
    """The batch that an answer is about, and the task in it."""
    _, _, _, _, sequence, first, _, _, _, _ = ANSWER.unpack_from(data)
    flight = shell.flights.get(sequence)
    return flight, -1 if flight is None else flight.start + first


ANSWERS: dict[int, Callable[[Shell, bytes, list[Any]], None]] = {
    Answer.RESULTS: _on_results,
    Answer.LARGE: _on_large,
    Answer.RAISED: _on_raised,
    Answer.GAVE_BACK: _on_gave_back,
    Answer.UNREADABLE: _on_unreadable,
    Answer.UNKNOWN_FUNCTION: _on_unknown_function,
    Answer.READY: _on_ready,
    Answer.INITIALIZER_FAILED: _on_initializer_failed,
    Answer.ENDED: _on_ended,
    Answer.NUDGE: _on_nudge,
}
