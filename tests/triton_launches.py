"""Scripts that run Triton's kernels in its interpreter, and compile for GPUs what was launched.

``SCRIPT TASK OUT`` runs a function of the script in the interpreter, and writes what was launched
with which types into OUT; ``SCRIPT compile OUT`` compiles that for GPUs.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import torch

TYPES = {
    torch.float32: "*fp32", torch.float64: "*fp64", torch.int32: "*i32", torch.int64: "*i64",
    torch.uint8: "*u8", torch.int8: "*i8",
}  # fmt: skip


# Launches


def noting_launches():
    """Note the types of every launch of a kernel in the interpreter."""
    from triton.runtime.interpreter import InterpretedFunction

    launches, run = {}, InterpretedFunction.run

    def noted(self, *args, grid, warmup, **options):
        signature = {
            n: TYPES[a.dtype] if isinstance(a, torch.Tensor) else "i32"
            for n, a in zip(self.arg_names, args, strict=False)
        }
        constants = {n: v for n, v in options.items() if n in self.arg_names}
        where = self.fn.__code__.co_filename, self.fn.__name__
        launches[(*where, *signature.values())] = (*where, signature, constants)
        return run(self, *args, grid=grid, warmup=warmup, **options)

    InterpretedFunction.run = noted
    return launches


def module_at(path):
    """The module of a file: one of the package, or generated source."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def compile_for_gpus(launches, exact):
    """Compile what was launched; `exact`: no operation of float32 may be fused or approximate."""
    import triton

    modules = {path: module_at(path) for path in {path for path, *_ in launches}}
    for path, name, signature, constants in launches:
        kernel = getattr(modules[path], name)
        source = triton.compiler.ASTSource(
            fn=kernel,
            signature=signature | dict.fromkeys(constants, "constexpr"),
            constexprs={(kernel.arg_names.index(n),): v for n, v in constants.items()},
        )
        target = triton.backends.compiler.GPUTarget("cuda", 80, 32)
        made = triton.compile(source, target=target, options={"enable_fp_fusion": not exact})
        wrong = re.findall(r"\bfma\.\S*f32|\S*approx\S*f32|div\.full\S*", made.asm["ptx"])
        assert not (exact and wrong), (path, name, wrong)
    assert launches


def main(tasks, *, exact):
    """What a script does with its arguments."""
    task, out = sys.argv[1], Path(sys.argv[2])
    if task == "compile":
        compile_for_gpus(json.loads(out.read_text()), exact)
    else:
        noted = noting_launches()
        tasks[task]()
        out.write_text(json.dumps(list(noted.values())))


def interpret_and_compile(script, task, folder):
    """Run a task in the interpreter, and compile what it launched."""
    for interpret, what in ((True, task), (False, "compile")):
        variables = os.environ | {
            "TRITON_INTERPRET": str(int(interpret)), "TRITON_CACHE_DIR": str(folder / "cache"),
        }  # fmt: skip
        command = [sys.executable, script, what, folder / "launches.json"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-4000:]
