// Derivatives of the network, one thread a sample: everything about a sample stays in registers between one reading of
// its pre-activations and one writing of its loss, gradient and curvature (docs/theory.md#gradient,
// docs/theory.md#curvature). `sedyn.model.network.differentiate` defines the result; `sedyn.kernels.cuda.launch` launches
// this and says how the two correspond.
//
// Compiled for one network by macros:
//   WIDTH, DEPTH   q and L
//   ACTIVATION     a function below of one number; the entries of `sedyn.model.functions.ACTIVATIONS` name them
//   LOSS           a function below of an output and a label, named by those of `LOSSES`
//   LOSS_NUMBERS   the numbers of the loss's family, with commas between; 0 if it has none
//   WEIGHTED       1 if samples carry mini-batch weights
//   CURVATURE      1 if D is wanted
// All arrays are in double precision with samples last; replicates come first and are the blocks' second index.

#define MATRICES (DEPTH - 1)  // deeper weights W_2 .. W_L
#define ENTRIES (DEPTH > 1 ? (DEPTH - 2) * WIDTH * WIDTH + WIDTH : 0)
#define AT_LEAST_1(n) ((n) > 0 ? (n) : 1)

struct Jet {
    double f, df, d2f;
};

__device__ inline double logistic_function(double x) { return 0.5 * (1 + tanh(0.5 * x)); }
__device__ inline double softplus_function(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

// Activations.

__device__ inline Jet identity(double x) { return {x, 1, 0}; }

__device__ inline Jet tanh_(double x) {
    const double f = tanh(x), df = 1 - f * f;
    return {f, df, -2 * f * df};
}

__device__ inline Jet erf_(double x) {
    const double df = 1.1283791670955126 * exp(-x * x);  // 2 / sqrt(pi)
    return {erf(x), df, -2 * x * df};
}

__device__ inline Jet sigmoid(double x) {
    const double f = logistic_function(x), df = f * (1 - f);
    return {f, df, df * (1 - 2 * f)};
}

__device__ inline Jet softplus(double x) {
    const double s = logistic_function(x);
    return {softplus_function(x), s, s * (1 - s)};
}

__device__ inline Jet gelu(double x) {
    const double cdf = 0.5 * (1 + erf(x * 0.70710678118654752));  // 1 / sqrt(2)
    const double pdf = exp(-0.5 * x * x) * 0.39894228040143268;   // 1 / sqrt(2 pi)
    return {x * cdf, cdf + x * pdf, pdf * (2 - x * x)};
}

__device__ inline Jet silu(double x) {
    const Jet s = sigmoid(x);
    return {x * s.f, s.f + x * s.df, 2 * s.df + x * s.d2f};
}

__device__ inline Jet relu(double x) {
    const double on = x > 0 ? 1 : 0;
    return {x * on, on, 0};
}

// Losses, as functions of the output.

__device__ const double loss_numbers[] = {LOSS_NUMBERS};

__device__ inline Jet squared(double f, double y) {
    const double residual = f - y;
    return {0.5 * residual * residual, residual, 1};
}

__device__ inline Jet logistic(double f, double y) {
    const double margin = y * f, miss = logistic_function(-margin);
    return {softplus_function(-margin), -y * miss, miss * (1 - miss)};
}

__device__ inline Jet huber(double f, double y) {
    const double residual = f - y, threshold = loss_numbers[0];
    const double clipped = residual > threshold ? threshold : residual < -threshold ? -threshold : residual;
    return {clipped * (residual - 0.5 * clipped), clipped, fabs(residual) < threshold ? 1.0 : 0.0};
}

__device__ inline Jet absolute(double f, double y) {
    const double residual = f - y, width = loss_numbers[0];
    const double radius = hypot(residual, width), cosine = width / radius;
    return {residual * (residual / (radius + width)), residual / radius, cosine * cosine / radius};
}

// A matrix is fan_in x fan_out; the last one has a single column.
__device__ inline int fan_out(int layer) { return layer == MATRICES - 1 ? 1 : WIDTH; }

extern "C" __global__ void differentiate(
    const double* h,        // (replicates, WIDTH, samples)
    const double* y,        // (replicates, samples)
    const double* batch,    // (replicates, samples), read if WEIGHTED
    const double* weights,  // (replicates, ENTRIES), W_2 .. W_L one after another
    long long samples,
    double* loss,           // (replicates, samples)
    double* gradient,       // (replicates, WIDTH, samples)
    double* curvature,      // (replicates, WIDTH, WIDTH, samples), written if CURVATURE
    double* deep            // (replicates, ENTRIES, threads), sums over the samples that a thread had
) {
    const long long threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long replicate = blockIdx.y;
    h += replicate * WIDTH * samples;
    y += replicate * samples;
    batch += replicate * samples;
    weights += replicate * ENTRIES;
    loss += replicate * samples;
    gradient += replicate * WIDTH * samples;
    curvature += replicate * WIDTH * WIDTH * samples;
    deep += replicate * ENTRIES * threads;

    double sums[AT_LEAST_1(ENTRIES)] = {};
    for (long long sample = thread; sample < samples; sample += threads) {
        // Forward.
        double units[AT_LEAST_1(MATRICES)][WIDTH], slopes[AT_LEAST_1(MATRICES)][WIDTH];
        double bends[AT_LEAST_1(MATRICES)][WIDTH], pre[WIDTH];
#pragma unroll
        for (int a = 0; a < WIDTH; ++a) pre[a] = h[a * samples + sample];
#pragma unroll
        for (int layer = 0; layer < MATRICES; ++layer) {
            const double* matrix = weights + layer * WIDTH * WIDTH;
#pragma unroll
            for (int a = 0; a < WIDTH; ++a) {
                const Jet jet = ACTIVATION(pre[a]);
                units[layer][a] = jet.f;
                slopes[layer][a] = jet.df;
                bends[layer][a] = jet.d2f;
            }
#pragma unroll
            for (int b = 0; b < fan_out(layer); ++b) {
                pre[b] = 0;
#pragma unroll
                for (int a = 0; a < WIDTH; ++a) pre[b] += matrix[a * fan_out(layer) + b] * units[layer][a];
            }
        }
        const Jet error = LOSS(pre[0], y[sample]);
        const double weight = WEIGHTED ? batch[sample] : 1;
        const double slope = error.df * weight;
        loss[sample] = error.f;

        // Backward: delta is the derivative of the output in the pre-activations of the layer at hand.
        double delta[WIDTH] = {1};
#pragma unroll
        for (int layer = MATRICES - 1; layer >= 0; --layer) {
            const double* matrix = weights + layer * WIDTH * WIDTH;
            double downstream[WIDTH];
#pragma unroll
            for (int a = 0; a < WIDTH; ++a) {
                downstream[a] = 0;
#pragma unroll
                for (int b = 0; b < fan_out(layer); ++b) {
                    sums[layer * WIDTH * WIDTH + a * fan_out(layer) + b] += units[layer][a] * slope * delta[b];
                    downstream[a] += matrix[a * fan_out(layer) + b] * delta[b];
                }
            }
#pragma unroll
            for (int a = 0; a < WIDTH; ++a) {
                delta[a] = slopes[layer][a] * downstream[a];
                bends[layer][a] *= downstream[a];
            }
        }
#pragma unroll
        for (int a = 0; a < WIDTH; ++a) gradient[a * samples + sample] = delta[a] * slope;

#if CURVATURE
        // jacobian[u][a] is the derivative of a layer's pre-activation u in h_a; in the first layer, the identity.
        double second[WIDTH][WIDTH];
#pragma unroll
        for (int a = 0; a < WIDTH; ++a)
#pragma unroll
            for (int b = a; b < WIDTH; ++b) {
                second[a][b] = delta[a] * delta[b] * (error.d2f * weight);
                if (MATRICES > 0 && a == b) second[a][b] += bends[0][a] * slope;
            }
        double jacobian[WIDTH][WIDTH];
#pragma unroll
        for (int layer = 1; layer < MATRICES; ++layer) {
            const double* matrix = weights + (layer - 1) * WIDTH * WIDTH;
            double carried[WIDTH][WIDTH];
#pragma unroll
            for (int u = 0; u < WIDTH; ++u)
#pragma unroll
                for (int a = 0; a < WIDTH; ++a) {
                    carried[u][a] = layer == 1 ? matrix[a * WIDTH + u] * slopes[0][a] : 0;
                    if (layer > 1)
#pragma unroll
                        for (int v = 0; v < WIDTH; ++v)
                            carried[u][a] += matrix[v * WIDTH + u] * slopes[layer - 1][v] * jacobian[v][a];
                }
#pragma unroll
            for (int u = 0; u < WIDTH; ++u)
#pragma unroll
                for (int a = 0; a < WIDTH; ++a) {
                    jacobian[u][a] = carried[u][a];
#pragma unroll
                    for (int b = a; b < WIDTH; ++b)
                        second[a][b] += carried[u][a] * carried[u][b] * (bends[layer][u] * slope);
                }
        }
#pragma unroll
        for (int a = 0; a < WIDTH; ++a)
#pragma unroll
            for (int b = a; b < WIDTH; ++b) {
                curvature[(a * WIDTH + b) * samples + sample] = second[a][b];
                curvature[(b * WIDTH + a) * samples + sample] = second[a][b];
            }
#endif
    }
#pragma unroll
    for (int entry = 0; entry < ENTRIES; ++entry) deep[entry * threads + thread] = sums[entry];
}
