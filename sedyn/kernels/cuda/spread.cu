// Scores of replicates from the mean losses of shifts of their points, and standard errors from how these differ
// (docs/theory.md#test-error-quadrature). `sedyn.descent.readout` defines the result; `sedyn.kernels.cuda.paths` launches
// this.
//
// Compiled by macros:
//   THREADS  of a block
// One thread an iteration of a replicate.

extern "C" __global__ void __launch_bounds__(THREADS) error_over_shifts(
    const double* losses,  // (replicates, iterations, shifts)
    const double* more,    // (replicates), what losses are more than said
    long long replicates,
    long long iterations,
    long long shifts,
    double* found  // (2, replicates, iterations), scores and standard errors
) {
    const long long place = (long long)blockIdx.x * THREADS + threadIdx.x, all = replicates * iterations;
    if (place >= all) return;
    const double here = more[place / iterations];
    double mean = 0, squares = 0;
    for (long long shift = 0; shift < shifts; ++shift) mean += 2 * (losses[place * shifts + shift] + here);
    mean /= (double)shifts;
    for (long long shift = 0; shift < shifts; ++shift) {
        const double difference = 2 * (losses[place * shifts + shift] + here) - mean;
        squares += difference * difference;
    }
    found[place] = mean;
    found[all + place] = sqrt(squares / (double)(shifts - 1)) / sqrt((double)shifts);
}
