// First-layer rows: where they start, and what is observed of them. `sedyn.model.initialization` and
// `sedyn.model.row_averages` define the results; `sedyn.kernels.cuda.rows` launches this.
//
// Compiled by macros, beside those of sums.cu:
//   UNITS    q
//   SIGNALS  k
// A thread has some features, a block sums over them; the second index of a block counts replicates.

#include "sums.cu"

#define ROWS (UNITS + SIGNALS)
#define SQUARES (ROWS * (ROWS + 1) / 2)
#define FUNCTIONS 4
#define MOMENTS (2 * UNITS + SIGNALS + FUNCTIONS)

// Rows that are orthogonal among a group of features, of norm the root of their number, and then mixed
// (docs/theory.md#exact-start). Rows are made orthogonal from the first on by the inverse of the triangular root of their
// Gram matrix, twice, as the second time makes up for what squaring has lost. The first index of a block counts groups.
extern "C" __global__ void __launch_bounds__(THREADS) starting_rows(
    const double* normals,    // (replicates, ROWS, features)
    const long long* bounds,  // where each group begins, and where the last ends
    const double* mixing,     // (ROWS, ROWS)
    long long features,
    double* found  // (replicates, ROWS, features)
) {
    __shared__ double totals[(WARPS_HERE + 1) * SQUARES], inverses[2][SQUARES];
    const long long begin = bounds[blockIdx.x], end = bounds[blockIdx.x + 1];
    normals += blockIdx.y * ROWS * features;
    found += blockIdx.y * ROWS * features;
#pragma unroll 1
    for (int turn = 0; turn < 2; ++turn) {
        double gram[SQUARES] = {};
        for (long long j = begin + threadIdx.x; j < end; j += THREADS) {
            double row[ROWS];
#pragma unroll
            for (int a = 0; a < ROWS; ++a) row[a] = normals[a * features + j];
            if (turn > 0) times<ROWS>(inverses[0], row);
#pragma unroll
            for (int a = 0; a < ROWS; ++a)
#pragma unroll
                for (int b = 0; b <= a; ++b) gram[entry(a, b)] += row[a] * row[b];
        }
        add_over_block<SQUARES>(gram, totals);
        if (threadIdx.x == 0) {
            root_of<ROWS>(totals);
            inverse_of<ROWS>(totals, inverses[turn]);
        }
        __syncthreads();
    }
    const double norm = sqrt((double)(end - begin));
    for (long long j = begin + threadIdx.x; j < end; j += THREADS) {
        double row[ROWS];
#pragma unroll
        for (int a = 0; a < ROWS; ++a) row[a] = normals[a * features + j];
        times<ROWS>(inverses[0], row);
        times<ROWS>(inverses[1], row);
#pragma unroll
        for (int a = 0; a < ROWS; ++a) row[a] *= norm;
#pragma unroll
        for (int a = 0; a < ROWS; ++a) {
            double mixed = 0;
#pragma unroll
            for (int b = 0; b < ROWS; ++b) mixed += mixing[a * ROWS + b] * row[b];
            found[a * features + j] = mixed;
        }
    }
}

// Sums over rows of what is observed of one unit (docs/theory.md#overlaps): products with all units, then with W^0 and mu,
// in the features' covariance, and the test functions of `ROW_FUNCTIONS`. The first index of a block counts units and,
// slower, iterations.
extern "C" __global__ void __launch_bounds__(THREADS) row_moments(
    const double* weights,       // (replicates, iterations, UNITS, features)
    long long replicate_stride,  // entries from one replicate's weights to the next
    long long iteration_stride,  // and from one iteration's
    const double* start,         // (replicates, ROWS, features), W^0 above mu
    long long start_stride,      // entries from one replicate's to the next
    const double* scales,        // (features)
    long long features,
    long long iterations,
    double* found  // (replicates, iterations, UNITS, MOMENTS)
) {
    __shared__ double totals[(WARPS_HERE + 1) * MOMENTS];
    const long long unit = blockIdx.x % UNITS, iteration = blockIdx.x / UNITS;
    weights += blockIdx.y * replicate_stride + iteration * iteration_stride;
    start += blockIdx.y * start_stride;
    double moments[MOMENTS] = {};
    for (long long j = threadIdx.x; j < features; j += THREADS) {
        const double weight = weights[unit * features + j], scale = scales[j], scaled = weight * scale;
        const double to_signal = weight - start[UNITS * features + j], to_start = weight - start[unit * features + j];
#pragma unroll
        for (int b = 0; b < UNITS; ++b) moments[b] += scaled * (weights[b * features + j] * scale);
#pragma unroll
        for (int b = 0; b < ROWS; ++b) moments[UNITS + b] += scaled * scale * start[b * features + j];
        moments[UNITS + ROWS] += fabs(weight);
        moments[UNITS + ROWS + 1] += exp(-0.5 * weight * weight);
        moments[UNITS + ROWS + 2] += fabs(to_signal);
        moments[UNITS + ROWS + 3] += fabs(to_start);
    }
    add_over_block<MOMENTS>(moments, totals);
    found += ((blockIdx.y * iterations + iteration) * UNITS + unit) * MOMENTS;
    for (int i = threadIdx.x; i < MOMENTS; i += THREADS) found[i] = totals[i];
}
