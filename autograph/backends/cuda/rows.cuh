// Rows held in registers: one row of `size` numbers for every `lanes` neighbouring threads.
//
// Spec holds `lanes` (a warp, or all 256 threads of a block), `pack` (neighbours a thread, which
// divide the row), `packs` (of a thread: lanes * pack * packs reach over the row), and size.
#pragma once
#include "block.cuh"

template <class Spec> struct Row {
    static constexpr int lanes = Spec::lanes, pack = Spec::pack, packs = Spec::packs;
    static constexpr int a_block = 256 / lanes;

    // Where pack j of this thread begins; beyond `size` for the last ones of a row.
    static __device__ int at(int j) { return (j * lanes + threadIdx.x % lanes) * pack; }
    static __device__ bool inside(int j) {
        return Spec::size % (lanes * pack) == 0 || at(j) < Spec::size;
    }

    // visit(column, j, i) for every number of this thread, which is numbers[j][i]
    template <class Visit> static __device__ void each(Visit visit) {
#pragma unroll
        for (int j = 0; j < packs; j++)
            if (inside(j))
#pragma unroll
                for (int i = 0; i < pack; i++) visit(at(j) + i, j, i);
    }
    // What a thread holds of a row as it is stored: asked for long before it is used.
    template <class T> static __device__ void fetch(Pack<T, pack> (&found)[packs], const T* row) {
#pragma unroll
        for (int j = 0; j < packs; j++)
            if (inside(j)) found[j] = load_pack<pack>(row + at(j));
    }
    template <class N, class T> static __device__ void load(N (&numbers)[packs][pack], const T* row) {
        Pack<T, pack> found[packs];
        fetch(found, row);
        each([&](int, int j, int i) { numbers[j][i] = N(widen(found[j][i])); });
    }
    template <class N, class T> static __device__ void store(T* row, const N (&numbers)[packs][pack]) {
#pragma unroll
        for (int j = 0; j < packs; j++)
            if (inside(j)) {
                Pack<T, pack> rounded;
#pragma unroll
                for (int i = 0; i < pack; i++) rounded[i] = narrow<T>(numbers[j][i]);
                store_pack<pack>(row + at(j), rounded);
            }
    }
};
