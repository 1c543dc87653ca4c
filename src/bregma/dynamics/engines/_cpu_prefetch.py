"""Ask for memory before it is needed: no hardware guesses which row of synapses comes next."""

from __future__ import annotations

from typing import Any, no_type_check

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_READ, _KEEP, _DATA = 0, 3, 1  # what llvm.prefetch wants to know


@no_type_check
@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Bring the cache line of an element; nothing happens where there is no such element."""

    def code(context, builder, signature, arguments):
        made = context.make_array(array)(context, builder, arguments[0])
        place = cgutils.get_item_pointer(
            context, builder, array, made, [arguments[1]], wraparound=False
        )
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        how = [word(_READ), word(_KEEP), word(_DATA)]
        builder.call(function, [builder.bitcast(place, byte), *how])
        return context.get_dummy_value()

    return types.void(array, types.uint64), code
