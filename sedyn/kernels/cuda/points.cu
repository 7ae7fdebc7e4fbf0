// Points of the readouts of replicates, and roots of small covariances. `sedyn.arrays.points` and
// `sedyn.arrays.roots` define the results; `sedyn.kernels.cuda.points` launches this.
//
// Compiled by macros, beside those of sums.cu:
//   DIMENSIONS  of a point, or of a covariance

#include "sums.cu"

#define SQUARES (DIMENSIONS * (DIMENSIONS + 1) / 2)

// Quantiles of the standard normal law, AS 241 (Wichura 1988), with the coefficients of sedyn/kernels/cpu/points.py.
__device__ inline double quantile(double p) {
    const double from_median = p - 0.5;
    double x, above, below;
    if (fabs(from_median) <= 0.425) {
        x = 0.425 * 0.425 - from_median * from_median;
        above = (((((((2509.0809287301226727 * x + 33430.575583588128105) * x + 67265.770927008700853) * x +
                     45921.953931549871457) * x + 13731.693765509461125) * x + 1971.5909503065514427) * x +
                  133.14166789178437745) * x + 3.3871328727963666080);
        below = (((((((5226.4952788528545610 * x + 28729.085735721942674) * x + 39307.895800092710610) * x +
                     21213.794301586595867) * x + 5394.1960214247511077) * x + 687.18700749205790830) * x +
                  42.313330701600911252) * x + 1);
        return above / below * from_median;
    }
    const double root = sqrt(-log(from_median < 0 ? p : 1 - p));
    if (root <= 5) {
        x = root - 1.6;
        above = (((((((7.7454501427834140764e-4 * x + 2.27238449892691845833e-2) * x + 2.41780725177450611770e-1) * x +
                     1.27045825245236838258) * x + 3.64784832476320460504) * x + 5.76949722146069140550) * x +
                  4.63033784615654529590) * x + 1.42343711074968357734);
        below = (((((((1.05075007164441684324e-9 * x + 5.47593808499534494600e-4) * x + 1.51986665636164571966e-2) * x +
                     1.48103976427480074590e-1) * x + 6.89767334985100004550e-1) * x + 1.67638483018380384940) * x +
                  2.05319162663775882187) * x + 1);
    } else {
        x = root - 5;
        above = (((((((2.01033439929228813265e-7 * x + 2.71155556874348757815e-5) * x + 1.24266094738807843860e-3) * x +
                     2.65321895265761230930e-2) * x + 2.96560571828504891230e-1) * x + 1.78482653991729133580) * x +
                  5.46378491116411436990) * x + 6.65790464350110377720);
        below = (((((((2.04426310338993978564e-15 * x + 1.42151175831644588870e-7) * x + 1.84631831751005468180e-5) * x +
                     7.86869131145613259100e-4) * x + 1.48753612908506148525e-2) * x + 1.36929880922735805310e-1) * x +
                  5.99832206555887937690e-1) * x + 1);
    }
    return from_median < 0 ? -above / below : above / below;
}

// Shifted and stretched points with matched moments (docs/theory.md#stretched-points, docs/theory.md#matched-moments). The
// first index of a block counts shifts, the second replicates; a thread has some of the points, from one reading to the
// last.
extern "C" __global__ void __launch_bounds__(THREADS) stretched_points(
    const unsigned long long* words,   // (replicates, shifts, DIMENSIONS)
    long long bits,                    // binary digits of a point
    const unsigned long long* digits,  // (DIMENSIONS, count)
    long long count,
    long long stretched,
    double factor,
    double* normals,  // (replicates, DIMENSIONS, shifts, count)
    double* weights   // (replicates, shifts, count)
) {
    __shared__ double totals[(WARPS_HERE + 1) * DIMENSIONS], means[DIMENSIONS], moments[SQUARES], inverse[SQUARES];
    const long long shifts = gridDim.x, set = blockIdx.y * shifts + blockIdx.x, step = shifts * count;
    words += set * DIMENSIONS;
    normals += blockIdx.y * DIMENSIONS * step + blockIdx.x * count;
    weights += set * count;
    const double unit = 1.0 / (double)(1ull << bits);
    double total = 0;
    for (long long i = threadIdx.x; i < count; i += THREADS) {
        double squares = 0;
#pragma unroll 1
        for (int a = 0; a < DIMENSIONS; ++a) {
            const double x = quantile(((double)(digits[a * count + i] ^ (words[a] >> (64 - bits))) + 0.5) * unit);
            if (a < stretched) squares += x * x;
            normals[a * step + i] = a < stretched ? factor * x : x;
        }
        weights[i] = exp((1 - factor * factor) / 2 * squares);
        total += weights[i];
    }
    add_over_block<1>(&total, totals);
    const double all = totals[0];
    __syncthreads();
    double sums[DIMENSIONS] = {};
    for (long long i = threadIdx.x; i < count; i += THREADS) {
        weights[i] /= all;
#pragma unroll
        for (int a = 0; a < DIMENSIONS; ++a) sums[a] += weights[i] * normals[a * step + i];
    }
    add_over_block<DIMENSIONS>(sums, totals);
    for (int a = threadIdx.x; a < DIMENSIONS; a += THREADS) means[a] = totals[a];
    __syncthreads();
#pragma unroll 1
    for (int row = 0; row < DIMENSIONS; ++row) {
#pragma unroll
        for (int b = 0; b < DIMENSIONS; ++b) sums[b] = 0;
        for (long long i = threadIdx.x; i < count; i += THREADS) {
            const double weighted = weights[i] * (normals[row * step + i] - means[row]);
#pragma unroll
            for (int b = 0; b < DIMENSIONS; ++b)
                if (b <= row) sums[b] += weighted * (normals[b * step + i] - means[b]);
        }
        add_over_block<DIMENSIONS>(sums, totals);
        for (int b = threadIdx.x; b <= row; b += THREADS) moments[entry(row, b)] = totals[b];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        root_of<DIMENSIONS>(moments);
        inverse_of<DIMENSIONS>(moments, inverse);
    }
    __syncthreads();
    for (long long i = threadIdx.x; i < count; i += THREADS) {
        double point[DIMENSIONS];
#pragma unroll
        for (int a = 0; a < DIMENSIONS; ++a) point[a] = normals[a * step + i] - means[a];
        times<DIMENSIONS>(inverse, point);
#pragma unroll
        for (int a = 0; a < DIMENSIONS; ++a) normals[a * step + i] = point[a];
    }
}

// Lower triangular roots of covariances, one thread each.
extern "C" __global__ void __launch_bounds__(THREADS) causal_root(
    const double* covariances,  // (count, DIMENSIONS, DIMENSIONS)
    long long count,
    double negligible,  // the share by which each variance is raised
    double* roots       // of the same shape
) {
    const long long own = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (own >= count) return;
    covariances += own * DIMENSIONS * DIMENSIONS;
    roots += own * DIMENSIONS * DIMENSIONS;
    double deviations[DIMENSIONS], root[SQUARES];
    for (int a = 0; a < DIMENSIONS; ++a) {
        const double variance = covariances[a * DIMENSIONS + a];
        deviations[a] = sqrt(variance < 0 ? 0 : variance);
    }
    for (int a = 0; a < DIMENSIONS; ++a)
        for (int b = 0; b <= a; ++b) {
            const double first = deviations[a] > 0 ? deviations[a] : 1, second = deviations[b] > 0 ? deviations[b] : 1;
            const double value = covariances[a * DIMENSIONS + b] / first / second;
            root[entry(a, b)] = a == b ? 1 + negligible : value < -1 ? -1 : value > 1 ? 1 : value;
        }
    root_of<DIMENSIONS>(root);
    for (int a = 0; a < DIMENSIONS; ++a)
        for (int b = 0; b < DIMENSIONS; ++b)
            roots[a * DIMENSIONS + b] = b <= a ? deviations[a] * root[entry(a, b)] : 0;
}
