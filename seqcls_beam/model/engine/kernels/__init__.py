"""Functions that neither torch nor oneDNN has, written for LLVM and compiled when they are first asked for.

    trial       whether they run here, found by trying one
    machine     what a machine must have; compiles a kernel, and runs it in torch's own threads
    writing     what they are written with: loops, vectors of 16 numbers, powers of two, tiles
    attention   attention, by a kernel in which `attending` writes all but its two products, which are left to
    halves          keys and values in bfloat16, laid out in twos, for
    tiles           tiles of AMX, or
    pairs           registers of AVX-512 with products of bfloat16
    plain           registers of AVX-512, in float32
    bytes       numbers as bytes, for products of int8
    sums        the sum of two tensors and its LayerNorm, in one pass

LLVM comes with llvmlite, which is a library and no program: nothing is needed but what pip installs. Where it is
missing, or on another processor, the engine runs as it does without. `trial` and `machine` can be imported without it;
the others cannot.
"""
