// Mean losses over points that stand for fresh samples, at all iterations of replicates (docs/theory.md#test-error-quadrature).
// `sedyn.descent.readout.quadrature_scores` defines the result; `sedyn.kernels.cuda.paths` launches this.
//
// Compiled by macros, beside those of network.cu:
//   THREADS  of a block, a power of two
//   GIVEN    standard normals of a point
//   CHOICES  labels that each point may have
//   CLUSTER  1
// The first index of a block counts shifts and, slower, iterations; the second replicates.

#include "network.cu"
#include "hardware.cu"

extern "C" __global__ void __launch_bounds__(THREADS) average(
    const double* roots,          // (replicates, iterations, INPUTS, GIVEN)
    const double* parameters,     // (replicates, iterations, PARAMETERS)
    const double* normals,        // (replicates, GIVEN, shifts * size)
    const double* labels,         // (replicates, CHOICES, OUTPUTS, shifts * size)
    const double* probabilities,  // (replicates, CHOICES, shifts * size)
    const double* weights,        // (replicates, shifts * size)
    long long iterations,
    long long size,  // points of a shift
    double* found    // (replicates, iterations, shifts)
) {
    const int thread = threadIdx.x;
    const long long shifts = gridDim.x / iterations, replicate = blockIdx.y;
    const long long shift = blockIdx.x % shifts, iteration = blockIdx.x / shifts, points = shifts * size;
    const long long place = replicate * iterations + iteration;

    double* root = (double*)shared_memory;      // (INPUTS, GIVEN)
    double* numbers = root + INPUTS * GIVEN;    // (PARAMETERS)
    double* totals = numbers + PARAMETERS;      // (THREADS)
    for (int i = thread; i < INPUTS * GIVEN; i += THREADS) root[i] = roots[place * INPUTS * GIVEN + i];
    for (int i = thread; i < PARAMETERS; i += THREADS) numbers[i] = parameters[place * PARAMETERS + i];
    __syncthreads();

    double total = 0;
    for (long long i = thread; i < size; i += THREADS) {
        const long long point = shift * size + i;
        Sample own;
#pragma unroll
        for (int a = 0; a < INPUTS; ++a) own.signals[a] = 0;
#pragma unroll
        for (int k = 0; k < GIVEN; ++k) {
            const double normal = normals[(replicate * GIVEN + k) * points + point];
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) own.signals[a] += root[a * GIVEN + k] * normal;
        }
        Program::forward(own, numbers);
        double mean = 0;
#pragma unroll
        for (int m = 0; m < CHOICES; ++m) {
            const long long choice = replicate * CHOICES + m;
            double y[OUTPUTS];
#pragma unroll
            for (int c = 0; c < OUTPUTS; ++c) y[c] = labels[(choice * OUTPUTS + c) * points + point];
            mean += probabilities[choice * points + point] * LOSS(own.signals + OUTPUT, y).value;
        }
        total += weights[replicate * points + point] * mean;
    }

    totals[thread] = total;
    for (int half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (thread < half) totals[thread] += totals[thread + half];
    }
    if (thread == 0) found[place * shifts + shift] = totals[0];
}
