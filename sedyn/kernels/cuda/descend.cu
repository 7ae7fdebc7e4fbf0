// A pass of gradient descent over designs side by side that reads every entry from memory once: samples are staged in
// shared memory, go forward there, through the network and backward (docs/theory.md#descent). While one tile of samples
// is at work the next is on its way. `sedyn.designs.protocol.Design.descend` defines the result; `sedyn.kernels.cuda.descent`
// launches this, says how the two correspond and chooses the sizes.
//
// Compiled by macros, beside those of network.cu:
//   NUMBER    the type of the designs' entries, which products are computed in
//   THREADS   of a block
//   COLUMNS   of each thread on the way backward, at most
//   VECTOR    entries that are copied at a time, a divisor of the features of a design
//   CLUSTER   blocks that share the features of a sample
// The first index of a block counts parts of the samples and, fastest, the blocks of a cluster; the second replicates.

#include "network.cu"
#include "hardware.cu"

#define WARP 32
#define WARPS (THREADS / WARP)
#define TOGETHER 2  // samples that go forward together, so that weights are read for all of them at once
#define STRIDE (PARAMETERS | 1)  // of the sums of a sample: rows of odd length meet different banks of shared memory

// Begin to copy some rows of a matrix to shared memory, a warp a row.
__device__ inline void begin_rows(NUMBER* tile, int pitch, const NUMBER* from, long long features, int rows, int columns) {
    for (int row = threadIdx.x / WARP; row < rows; row += WARPS)
        for (int column = threadIdx.x % WARP * VECTOR; column < columns; column += WARP * VECTOR)
            begin_copy<VECTOR * sizeof(NUMBER)>(tile + row * pitch + column, from + row * features + column);
}

extern "C" __global__ void __launch_bounds__(THREADS) IN_CLUSTERS descend(
    const NUMBER* matrices,    // (replicates, samples, features)
    const double* weights,     // (replicates, INPUTS, features)
    double scale,              // each X is this times its matrix
    const double* y,           // (replicates, OUTPUTS, samples)
    const double* batch,       // (replicates, samples), read if WEIGHTED
    const double* parameters,  // (replicates, PARAMETERS)
    long long samples,
    long long features,
    long long part_rows,  // samples of a part
    long long tile_rows,  // of a tile, an even number
    double* trained,      // (replicates, INPUTS, samples)
    double* loss,         // (replicates, samples)
    double* gradient,     // (replicates, INPUTS, samples)
    double* curvature,    // (replicates, INPUTS, INPUTS, samples), written if CURVATURE
    NUMBER* sums,         // (replicates, parts, INPUTS, features), of the samples of each part
    double* deep          // (replicates, parts, PARAMETERS)
) {
    const int thread = threadIdx.x, warp = thread / WARP, lane = thread % WARP;
    const unsigned member = blockIdx.x % CLUSTER;
    const long long part = blockIdx.x / CLUSTER, parts = gridDim.x / CLUSTER, replicate = blockIdx.y;
    // Features of this block: rows of shared memory begin at multiples of 16 bytes.
    const int pitch = (int)((features + CLUSTER - 1) / CLUSTER + 3) / 4 * 4;
    const long long first_column = member * (long long)pitch;
    const int columns = (int)(features - first_column < pitch ? (features > first_column ? features - first_column : 0) : pitch);
    const int tile_size = (int)tile_rows;
    // Warps that share the features of the samples that go forward together, where there are more warps than such.
    const int pairs = tile_size / TOGETHER, split = WARPS > pairs ? WARPS / pairs : 1, sources = split * CLUSTER;

    matrices += replicate * samples * features + first_column;
    weights += replicate * INPUTS * features + first_column;
    y += replicate * OUTPUTS * samples;
    batch += replicate * samples;
    parameters += replicate * PARAMETERS;
    trained += replicate * INPUTS * samples;
    loss += replicate * samples;
    gradient += replicate * INPUTS * samples;
    curvature += replicate * INPUTS * INPUTS * samples;
    sums += (replicate * parts + part) * INPUTS * features + first_column;
    deep += (replicate * parts + part) * PARAMETERS;

    NUMBER* tiles = (NUMBER*)shared_memory;                          // two of (tile_size, pitch)
    NUMBER* own_weights = tiles + 2 * tile_size * pitch;             // (INPUTS, pitch)
    double* partial = (double*)(own_weights + INPUTS * pitch);       // two of (sources, tile_size, INPUTS)
    double* deep_sums = partial + 2 * sources * tile_size * INPUTS;  // (tile_size, STRIDE)
    NUMBER* pulls = (NUMBER*)(deep_sums + tile_size * STRIDE);       // (tile_size, INPUTS)

    const long long first = part * part_rows, last = first + part_rows < samples ? first + part_rows : samples;
    const int few = (int)(last - first < tile_size ? last - first : tile_size);
    begin_rows(tiles, pitch, matrices + first * features, features, few, columns);
#pragma unroll
    for (int a = 0; a < INPUTS; ++a)
        for (int column = thread; column < columns; column += THREADS)
            own_weights[a * pitch + column] = (NUMBER)(weights[a * features + column] * scale);
    for (int i = thread; i < tile_size * STRIDE; i += THREADS) deep_sums[i] = 0;
    NUMBER found[INPUTS][COLUMNS];
#pragma unroll
    for (int a = 0; a < INPUTS; ++a)
#pragma unroll
        for (int k = 0; k < COLUMNS; ++k) found[a][k] = 0;
    if (CLUSTER > 1) sync_cluster();  // nobody writes to a block that has not begun

    int turn = 0;
    for (long long start = first; start < last; start += tile_size, turn ^= 1) {
        const int rows = (int)(last - start < tile_size ? last - start : tile_size);
        const NUMBER* tile = tiles + turn * tile_size * pitch;
        double* shares = partial + turn * sources * tile_size * INPUTS;
        finish_copies();
        __syncthreads();  // the tile is there, and nobody is at work on the other any more
        const long long next = start + tile_size;
        if (next < last) {
            const int more = (int)(last - next < tile_size ? last - next : tile_size);
            begin_rows(tiles + (turn ^ 1) * tile_size * pitch, pitch, matrices + next * features, features, more, columns);
        }

        // Forward: a warp's share of the features of samples that go together.
        for (int item = warp; item < pairs * split; item += WARPS) {
            const int row = item / split * TOGETHER, share = item % split;
            const NUMBER* entries = tile + row * pitch;
            NUMBER total[TOGETHER][INPUTS];
#pragma unroll
            for (int i = 0; i < TOGETHER; ++i)
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) total[i][a] = 0;
            for (int column = share * WARP + lane; column < columns; column += split * WARP) {
                NUMBER entry[TOGETHER];
#pragma unroll
                for (int i = 0; i < TOGETHER; ++i) entry[i] = entries[i * pitch + column];
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) {
                    const NUMBER weight = own_weights[a * pitch + column];
#pragma unroll
                    for (int i = 0; i < TOGETHER; ++i) total[i][a] += entry[i] * weight;
                }
            }
#pragma unroll
            for (int i = 0; i < TOGETHER; ++i)
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) {
#pragma unroll
                    for (int other = WARP / 2; other > 0; other /= 2)
                        total[i][a] += __shfl_xor_sync(0xffffffffu, total[i][a], other);
                }
            // A lane for each block of the cluster.
            if (lane < CLUSTER) {
#pragma unroll
                for (int i = 0; i < TOGETHER; ++i)
#pragma unroll
                    for (int a = 0; a < INPUTS; ++a) {
                        double* place = shares + (((int)member * split + share) * tile_size + row + i) * INPUTS + a;
                        write_in_cluster(place, (unsigned)lane, (double)total[i][a]);
                    }
            }
        }
        sync_cluster();

        // The network: a thread a sample, the same in every block of a cluster.
        for (int row = thread; row < rows; row += THREADS) {
            const long long sample = start + row;
            Sample own;
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) {
                double h = 0;
                for (int source = 0; source < sources; ++source) h += shares[(source * tile_size + row) * INPUTS + a];
                own.signals[a] = h;
                if (member == 0) trained[a * samples + sample] = h;
            }
            differentiate_sample(
                own, y, batch, parameters, samples, sample, member == 0, loss, gradient, curvature, deep_sums + row * STRIDE);
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) pulls[row * INPUTS + a] = (NUMBER)own.pulls[a];
        }
        __syncthreads();

        // Backward: a thread's columns.
        for (int row = 0; row < rows; ++row) {
            NUMBER pull[INPUTS];
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) pull[a] = pulls[row * INPUTS + a];
#pragma unroll
            for (int k = 0; k < COLUMNS; ++k) {
                const int column = thread + k * THREADS;
                if (column < columns) {
                    const NUMBER entry = tile[row * pitch + column];
#pragma unroll
                    for (int a = 0; a < INPUTS; ++a) found[a][k] += pull[a] * entry;
                }
            }
        }
    }

#pragma unroll
    for (int k = 0; k < COLUMNS; ++k) {
        const int column = thread + k * THREADS;
        if (column < columns) {
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) sums[a * features + column] = found[a][k];
        }
    }
    if (member == 0)
        for (int parameter = thread; parameter < PARAMETERS; parameter += THREADS) {
            double total = 0;
            for (int row = 0; row < tile_size; ++row) total += deep_sums[row * STRIDE + parameter];
            deep[parameter] = total;
        }
}

// Sums over the parts, in their order: X^T g, and means over samples of the derivatives in the parameters.
extern "C" __global__ void gather(
    const NUMBER* sums,  // as above
    const double* deep,  // as above
    long long parts,
    long long samples,
    long long features,
    double scale,
    double* products,      // (replicates, INPUTS, features)
    double* deep_gradient  // (replicates, PARAMETERS)
) {
    const long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x, replicate = blockIdx.y;
    const long long size = INPUTS * features, parameter = place - size;
    if (place < size) {
        double total = 0;
        for (long long part = 0; part < parts; ++part) total += (double)sums[(replicate * parts + part) * size + place];
        products[replicate * size + place] = total * scale;
    } else if (parameter < PARAMETERS) {
        double total = 0;
        for (long long part = 0; part < parts; ++part) total += deep[(replicate * parts + part) * PARAMETERS + parameter];
        deep_gradient[replicate * PARAMETERS + parameter] = total / (double)samples;
    }
}
