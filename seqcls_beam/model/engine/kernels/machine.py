"""The machine that kernels run on: LLVM's idea of its processor, and the threads that torch computes in.

A kernel is a C function of one pointer, to its arguments. It is run once in each thread at the same time, and the
runs share out the work themselves. The threads are those of the OpenMP library that torch has loaded: with others of
our own, the two would wait for each other's idle spinning.
"""

import ctypes
import functools
import platform
import re
import threading
from pathlib import Path
from typing import Any

import torch

_NEEDED = ("avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512bf16", "fma")
"""Of a processor, by LLVM's names. Those with AVX-512 and without products of bfloat16 could run some kernels; there
they have not been measured."""
_TILES = ("amx-tile", "amx-bf16")
"""Likewise, for attention in bfloat16 by tiles."""
BFLOAT16 = "AVX512-BF16"
HEADS = (32, 64)
"""Sizes of a head that attention is written for: one or two rows of a tile."""
WIDTHS = 32
"""Rows that are taken whole have a multiple of so many numbers: of bfloat16 as many as a register has."""
_ALIGNED = 64  # bytes, of what is loaded into a register at once
_IS_OPENMP = re.compile(r"lib(gomp|iomp5|omp)\b.*\.so").match
_kept = threading.local()


class Kernel:
    """A compiled function. Keeps what it was compiled from, without which its code is gone."""

    def __init__(self, module: Any) -> None:
        """Of a module of llvmlite with one function, which has its name."""
        from llvmlite import binding

        machine = _target()  # one for each, for it ends with what is compiled by it
        self._module = binding.parse_assembly(str(module))
        self._module.verify()
        passes = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options(speed_level=3))
        passes.getModulePassManager().run(self._module, passes)
        self._engine = binding.create_mcjit_compiler(self._module, machine)
        self._engine.finalize_object()
        self._address = self._engine.get_function_address(module.name)
        self._alone = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._address)
        self._shown = f"seqcls_beam::{module.name}"

    def __call__(self, arguments: Any, needed: int) -> None:
        """Run it in as many threads as torch computes in. torch's profiler shows it by its name.

        `arguments` are a structure; its fields `memory` and `size` become where the threads' memory begins, and how
        many bytes each has: `needed` or more.
        """
        threads = torch.get_num_threads()
        arguments.size = -(-needed // _ALIGNED) * _ALIGNED
        arguments.memory = _memory(arguments.size * threads)
        with torch.profiler.record_function(self._shown):
            if threads == 1:
                self._alone(ctypes.addressof(arguments))
            else:
                run = _openmp()
                assert run is not None
                run(self._address, ctypes.addressof(arguments), threads, 0)


def lacking() -> str | None:
    """What this machine lacks that kernels need; None if nothing. Raises what an llvmlite that is broken does."""
    if platform.machine() not in ("x86_64", "AMD64") or not torch.cpu._is_avx512_bf16_supported():
        return BFLOAT16
    from llvmlite import binding

    found = binding.get_host_cpu_features()
    if missing := [name for name in _NEEDED if not found.get(name, False)]:
        return ", ".join(missing)
    return "an OpenMP that is certainly torch's" if _openmp() is None else None


@functools.cache
def has_tiles() -> bool:
    """Whether this process may use tiles of AMX."""
    from llvmlite import binding

    found = binding.get_host_cpu_features()
    return torch.cpu._init_amx() and all(found.get(name, False) for name in _TILES)


def _target() -> Any:
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    features = binding.get_host_cpu_features()
    features["prefer-256-bit"] = False  # what is written in 512 bits is meant so
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(), features=features.flatten(), opt=3
    )


@functools.cache
def _openmp() -> Any:
    """`GOMP_parallel` of the library that torch computes with, which every OpenMP of these systems has; or None."""
    try:
        mapped = Path("/proc/self/maps").read_text().splitlines()
    except OSError:
        return None
    paths = {Path(line.split(maxsplit=5)[-1]) for line in mapped}
    loaded = sorted(path for path in paths if _IS_OPENMP(path.name))
    brought = [path for path in loaded if path.is_relative_to(Path(torch.__file__).resolve().parent)]
    if len(brought or loaded) != 1:  # none, or nobody knows which
        return None
    try:
        run = ctypes.CDLL(str((brought or loaded)[0])).GOMP_parallel
    except (OSError, AttributeError):
        return None
    run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    run.restype = None
    return run


def _memory(size: int) -> int:
    """Where so many bytes are, which the calling thread keeps."""
    kept = getattr(_kept, "memory", None)
    if kept is None or len(kept) < size + _ALIGNED:
        kept = _kept.memory = torch.empty(size + _ALIGNED, dtype=torch.uint8)
    return -(-kept.data_ptr() // _ALIGNED) * _ALIGNED
