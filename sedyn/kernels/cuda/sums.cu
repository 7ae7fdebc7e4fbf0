// Sums over the threads of a block, in an order that depends on their number alone, and small triangular matrices.
//
// Compiled by macros:
//   THREADS  of a block, a multiple of a warp's 32

#define WARPS_HERE (THREADS / 32)

// Sum COUNT numbers of each thread; afterwards `totals`, which has room for COUNT from each warp and COUNT more, begins
// with the sums, for all threads to read.
template <int COUNT>
__device__ inline void add_over_block(double* numbers, double* totals) {
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    double* of_warps = totals + COUNT;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) {
#pragma unroll
        for (int other = 16; other > 0; other /= 2) numbers[i] += __shfl_xor_sync(0xffffffffu, numbers[i], other);
        if (lane == 0) of_warps[warp * COUNT + i] = numbers[i];
    }
    __syncthreads();
    for (int i = threadIdx.x; i < COUNT; i += THREADS) {
        double total = 0;
        for (int each = 0; each < WARPS_HERE; ++each) total += of_warps[each * COUNT + i];
        totals[i] = total;
    }
    __syncthreads();
}

// Place of an entry of a lower triangle that lies row by row.
__device__ inline constexpr int entry(int row, int column) { return row * (row + 1) / 2 + column; }

// The lower triangular root of a symmetric matrix in place of it.
template <int SIZE>
__device__ inline void root_of(double* matrix) {
    for (int a = 0; a < SIZE; ++a)
        for (int b = 0; b <= a; ++b) {
            double value = matrix[entry(a, b)];
            for (int c = 0; c < b; ++c) value -= matrix[entry(a, c)] * matrix[entry(b, c)];
            matrix[entry(a, b)] = a == b ? sqrt(value) : value / matrix[entry(b, b)];
        }
}

// The inverse of a lower triangular matrix.
template <int SIZE>
__device__ inline void inverse_of(const double* matrix, double* inverse) {
    for (int a = 0; a < SIZE; ++a)
        for (int b = 0; b <= a; ++b) {
            double value = a == b ? 1 : 0;
            for (int c = b; c < a; ++c) value -= matrix[entry(a, c)] * inverse[entry(c, b)];
            inverse[entry(a, b)] = value / matrix[entry(a, a)];
        }
}

// A lower triangular matrix times a vector, in place of it.
template <int SIZE>
__device__ inline void times(const double* matrix, double* vector) {
#pragma unroll
    for (int a = SIZE - 1; a >= 0; --a) {
        double value = 0;
#pragma unroll
        for (int b = 0; b <= a; ++b) value += matrix[entry(a, b)] * vector[b];
        vector[a] = value;
    }
}
