// The adjoint pass of the gradient response, one thread a sample: Lambda_t = D^t and, for s = t - 1 .. 0,
// Lambda_s = (sum over r > s of Lambda_r R_w(r, s)) D^s (docs/theory.md#adjoint-response).
// `sedyn.model.adjoint.mean_response` defines the result, the mean of these over samples; `sedyn.kernels.cuda.launch`
// launches this and says how the two correspond.
//
// Compiled by macros:
//   WIDTH       q
//   ITERATIONS  whose sums are kept in registers, so that each Lambda_r is read once for so many
// All arrays are in double precision with samples last; replicates come first and are the blocks' second index.

#define SQUARE (WIDTH * WIDTH)

// sum += left right, right being the same for all samples.
__device__ inline void add_product(double sum[WIDTH][WIDTH], const double left[WIDTH][WIDTH], const double* right) {
#pragma unroll
    for (int c = 0; c < WIDTH; ++c)
#pragma unroll
        for (int b = 0; b < WIDTH; ++b) {
            const double factor = right[c * WIDTH + b];
#pragma unroll
            for (int a = 0; a < WIDTH; ++a) sum[a][b] += left[a][c] * factor;
        }
}

extern "C" __global__ void adjoints(
    const double* curvatures,       // D, (replicates, iterations, WIDTH, WIDTH, samples)
    long long replicate_stride,     // entries from one replicate's D to the next
    long long iteration_stride,     // and from one iteration's
    const double* weight_response,  // R_w(r, s), (replicates, iterations, iterations, WIDTH, WIDTH)
    long long samples,
    long long first,                // of the samples that this launch is for
    long long count,                // of them
    long long iterations,           // t + 1
    double* lambda                  // (replicates, iterations, WIDTH, WIDTH, count)
) {
    const long long sample = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long replicate = blockIdx.y;
    if (sample >= count) return;
    curvatures += replicate * replicate_stride + first + sample;
    weight_response += replicate * iterations * iterations * SQUARE;
    lambda += replicate * iterations * SQUARE * count + sample;

    const long long last = iterations - 1;
#pragma unroll
    for (int entry = 0; entry < SQUARE; ++entry)
        lambda[(last * SQUARE + entry) * count] = curvatures[last * iteration_stride + entry * samples];

    // sums[j] is for s = stop - 1 - j.
    for (long long stop = last; stop > 0; stop -= ITERATIONS) {
        double sums[ITERATIONS][WIDTH][WIDTH] = {};
        for (long long r = stop; r <= last; ++r) {
            double known[WIDTH][WIDTH];
#pragma unroll
            for (int entry = 0; entry < SQUARE; ++entry)
                known[entry / WIDTH][entry % WIDTH] = lambda[(r * SQUARE + entry) * count];
#pragma unroll
            for (int j = 0; j < ITERATIONS; ++j)
                if (stop - 1 - j >= 0) add_product(sums[j], known, weight_response + (r * iterations + stop - 1 - j) * SQUARE);
        }
#pragma unroll
        for (int j = 0; j < ITERATIONS; ++j) {
            const long long s = stop - 1 - j;
            if (s >= 0) {
                double found[WIDTH][WIDTH] = {};
#pragma unroll
                for (int b = 0; b < WIDTH; ++b)
#pragma unroll
                    for (int c = 0; c < WIDTH; ++c) {
                        const double bend = curvatures[s * iteration_stride + (b * WIDTH + c) * samples];
#pragma unroll
                        for (int a = 0; a < WIDTH; ++a) found[a][c] += sums[j][a][b] * bend;
                    }
#pragma unroll
                for (int entry = 0; entry < SQUARE; ++entry)
                    lambda[(s * SQUARE + entry) * count] = found[entry / WIDTH][entry % WIDTH];
#pragma unroll
                for (int k = j + 1; k < ITERATIONS; ++k)
                    if (stop - 1 - k >= 0) add_product(sums[k], found, weight_response + (s * iterations + stop - 1 - k) * SQUARE);
            }
        }
    }
}
