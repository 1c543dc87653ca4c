"""Threads of one kernel meet at every step: inside compiled code, as Python would take too long.

Every thread has a cache line with the number of the meeting that it has come to, and waits until
all others have come to it too. Who waits spins for some microseconds and then gives its core away
again and again, so that more threads than cores get on, if slowly. A thread that cannot go on says
so, and nobody waits any longer.
"""

from __future__ import annotations

import platform
import sys
from typing import Any, no_type_check

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types
from numba.extending import intrinsic

LINE = 8  # numbers of 8 bytes in a cache line
SPINS = 100  # looks at another thread before the core is given away
_PAUSE: dict[str, tuple[str, tuple[int, ...]]] = {  # what LLVM calls it, and its arguments
    **dict.fromkeys(("x86_64", "AMD64"), ("llvm.x86.sse2.pause", ())),
    **dict.fromkeys(("aarch64", "arm64"), ("llvm.aarch64.hint", (1,))),
}
_GIVE_WAY = "SwitchToThread" if sys.platform == "win32" else "sched_yield"
_part = njit(cache=True, nogil=True, error_model="numpy")


def meeting_place(n_threads: int) -> np.ndarray:
    """Where threads meet in one call of their kernels: a line for each, one that says stop."""
    space = np.zeros(LINE * (n_threads + 2), np.int64)
    begin = -space.ctypes.data % 64 // 8
    return space[begin : begin + LINE * (n_threads + 1)]


def stop(place: np.ndarray) -> None:
    """Nobody waits here any longer."""
    place[-LINE] = 1


@no_type_check
@intrinsic
def _seen(typing_context: Any, array: Any, index: Any) -> Any:
    """An element, read before anything that is read later."""

    def code(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments)
        return builder.load_atomic(pointer, "acquire", 8)

    return types.int64(array, types.int64), code


@no_type_check
@intrinsic
def _tell(typing_context: Any, array: Any, index: Any, value: Any) -> Any:
    """Set an element after everything that was written before."""

    def code(context, builder, signature, arguments):
        pointer = _pointer(context, builder, array, arguments)
        builder.store_atomic(arguments[2], pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.int64), code


@no_type_check
def _pointer(context: Any, builder: Any, array: Any, arguments: Any) -> Any:
    made = context.make_array(array)(context, builder, arguments[0])
    return cgutils.get_item_pointer(context, builder, array, made, [arguments[1]], wraparound=False)


@no_type_check
@intrinsic
def _pause(typing_context: Any) -> Any:
    """Tell the core that this is a loop that waits."""

    def code(context, builder, signature, arguments):
        if platform.machine() in _PAUSE:
            name, numbers = _PAUSE[platform.machine()]
            word = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [word] * len(numbers))
            function = cgutils.get_or_insert_function(builder.module, kind, name)
            builder.call(function, [word(n) for n in numbers])
        return context.get_dummy_value()

    return types.void(), code


@no_type_check
@intrinsic
def _give_way(typing_context: Any) -> Any:
    """Let another thread have the core."""

    def code(context, builder, signature, arguments):
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, _GIVE_WAY), [])
        return context.get_dummy_value()

    return types.void(), code


@no_type_check
@_part
def meet(place, me, number):
    """Wait until all threads have come to a meeting; False where somebody said stop.

    Meetings are numbered from 1; what a thread wrote before is there for all others afterwards.
    """
    _tell(place, me * LINE, number)
    n = place.size // LINE - 1
    for other in range(n):
        looks = 0
        while _seen(place, other * LINE) < number:
            looks += 1
            if looks <= SPINS:
                _pause()
            elif _seen(place, n * LINE) != 0:
                return False
            else:
                _give_way()
    return True


@no_type_check
@_part
def gather(units, n, boxes, told, column, edges, owners):
    """Append the spikes that all threads have told of, in the order of the units."""
    for i in range(owners.size):
        begin = edges[i]
        for e in range(begin, begin + told[owners[i], column]):
            units[n] = boxes[e] + begin
            n += 1
    return n
