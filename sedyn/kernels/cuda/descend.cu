// A pass of gradient descent over designs side by side that reads every entry from memory once: samples are staged in
// shared memory, go forward there, through the network and backward (docs/theory.md#descent).
// `sedyn.designs.protocol.Design.descend` defines the result; `sedyn.kernels.cuda.descent` launches this, says how the two
// correspond and chooses the sizes.
//
// Tiles of samples are in flight one behind the other. Each thread of the first warps has some features for good: their
// weights and their sums over samples are in its registers, and it copies its own entries of a tile ahead, so that nobody
// waits for anybody else's copies. It goes forward with one tile, then backward with the one that is LAG behind, and into
// the place of each sample that is done with it begins to copy another, STAGES behind. Meanwhile other warps evaluate
// networks, a tile each, a lane a sample: `summed` tells them that all warps, of all blocks of a cluster, have added up
// their features, `pulled` tells the first warps that the gradient is there. A block can be LAG + 1 tiles behind another of
// its cluster, so sums have places for twice as many. If a warp has all features of a sample, no other is waited
// for: each has tiles of its own, and takes them forward, through the network and backward by itself.
//
// Compiled by macros, beside those of network.cu:
//   NUMBER    the type of the designs' entries, which products are computed in
//   WARPS     of a block, that go forward and backward
//   NETWORKS  warps of a block beside them, that evaluate networks; 0 if each of the first does so for itself
//   RESIDENT  blocks that a processor of the card is to hold, at least
//   SIDE      samples that such a warp has side by side, 1, 2 or 4; 1 if there are NETWORKS
//   COLUMNS   features of a thread, at most
//   VECTOR    of them that are beside each other and copied at a time, a divisor of COLUMNS and of a design's features
//   TILE      samples of a tile, a power of 2 up to the lanes of a warp
//   FULL      1 if all threads have COLUMNS features
//   STAGES    tiles in shared memory, more than LAG
//   LAG       tiles between forward and backward; 0 if there are no NETWORKS
//   CLUSTER   blocks that share the features of a sample
//   SCALED    1 if features have scales of their own
// The first index of a block counts parts of the samples and, fastest, the blocks of a cluster; the second replicates.

#include "network.cu"
#include "hardware.cu"
#include "parts.cu"

#define WARP 32
#define ALONE (NETWORKS == 0)
#define LANES (WARP / SIDE)  // of a sample
#define STREAMS (ALONE ? WARPS : 1)  // of tiles of a block, each with its ring
#define SHARERS (ALONE ? 1 : WARPS)  // warps that share the features of a sample
#define SOURCES (SHARERS * CLUSTER)  // of what is added up to a sample's signals
#define EVALUATORS (ALONE ? WARPS : NETWORKS)
#define CHUNKS (COLUMNS / VECTOR)
#define PLACES (LAG + 1)  // of what is on its way between warps
#define STRIDE (PARAMETERS | 1)  // of the sums of a lane: rows of odd length meet different banks of shared memory

// Samples that go forward together: their numbers, at most one for each of their lanes, are added up at once.
__host__ __device__ constexpr int together(int rows) {
    return rows > 1 && (rows > 8 || rows * SIDE > TILE || rows * INPUTS > LANES) ? together(rows / 2) : rows;
}
__host__ __device__ constexpr int power_from(int least, int power) {
    return power < least ? power_from(least, 2 * power) : power;
}
constexpr int TOGETHER = together(WARP), NUMBERS = power_from(TOGETHER * INPUTS, 1);
constexpr int DEEPER = PARAMETERS < WARP ? power_from(PARAMETERS, 1) : WARP;  // parameters whose sums are added up at once

// Bytes before the ring, which is for whole vectors.
#define BEFORE ((8 * (PARAMETERS * (1 + EVALUATORS) + NETWORKS * TILE * STRIDE + 3 * PLACES) + 15) / 16 * 16)

struct alignas(VECTOR * sizeof(NUMBER)) Entries {
    NUMBER of[VECTOR];
};

// The features of a thread, among those of its block: vectors that are a step apart.
#define STEP (SHARERS * LANES * VECTOR)

struct Columns {
    int first, count;
    NUMBER weights[CHUNKS][VECTOR][INPUTS], found[CHUNKS][VECTOR][INPUTS];

    __device__ inline bool has(int chunk) const { return FULL || first + chunk * STEP < count; }

    // Rows are pointed to at the first feature of the thread.
    __device__ inline Entries read(const NUMBER* row, int chunk) const {
        Entries found = {};
        if (has(chunk)) found = *(const Entries*)(row + chunk * STEP);
        return found;
    }

    __device__ inline void begin_row(NUMBER* row, const NUMBER* from) const {
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k)
            if (has(k)) begin_copy<VECTOR * sizeof(NUMBER)>(row + k * STEP, from + k * STEP);
    }

    __device__ inline void clear_row(NUMBER* row) const {
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k)
            if (has(k)) *(Entries*)(row + k * STEP) = {};
    }

    __device__ inline void forward(const NUMBER* row, NUMBER* total) const {
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k) {
            const Entries entries = read(row, k);
#pragma unroll
            for (int i = 0; i < VECTOR; ++i)
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) total[a] += entries.of[i] * weights[k][i][a];
        }
    }

    __device__ inline void backward(const NUMBER* row, const NUMBER* pulls) {
        NUMBER pull[INPUTS];
#pragma unroll
        for (int a = 0; a < INPUTS; ++a) pull[a] = pulls[a];
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k) {
            const Entries entries = read(row, k);
#pragma unroll
            for (int i = 0; i < VECTOR; ++i)
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) found[k][i][a] += pull[a] * entries.of[i];
        }
    }
};

// Add up NUMBERS over MANY lanes, each keeping half of what it has and giving away the other: a lane has the total of
// number lane % MANY * NUMBERS / MANY in the end.
template <int NUMBERS, int MANY, class Number>
__device__ inline Number add_over_lanes(Number* numbers, int lane) {
#pragma unroll
    for (int level = 1; level < MANY; level *= 2) {
        const int other = MANY / 2 / level, half = NUMBERS / 2 / level;
        const bool upper = lane & other;
#pragma unroll
        for (int i = 0; i < half; ++i) {
            const Number given = upper ? numbers[i] : numbers[i + half], kept = upper ? numbers[i + half] : numbers[i];
            numbers[i] = kept + __shfl_xor_sync(0xffffffffu, given, other);
        }
        if (half == 0) numbers[0] += __shfl_xor_sync(0xffffffffu, numbers[0], other);
    }
    return numbers[0];
}

// Wait for the copies of this thread but for the last groups, or MOST or LEAST if that is less or more.
template <int MOST, int LEAST>
__device__ inline void finish_copies_but(int groups) {
    if (MOST == LEAST || groups >= MOST)
        finish_copies<MOST>();
    else
        finish_copies_but<(MOST > LEAST ? MOST - 1 : LEAST), LEAST>(groups);
}

// A tile of samples forward: what a warp's features add to their signals goes to all blocks of the cluster.
__device__ inline void forward_tile(const Columns& own, const NUMBER* tile, int pitch, int lane, unsigned source, NUMBER* shares) {
    const int side = lane / LANES, number = lane % LANES * NUMBERS / LANES;
#pragma unroll 1
    for (int row = 0; row < TILE; row += TOGETHER * SIDE) {
        NUMBER total[NUMBERS];
#pragma unroll
        for (int i = 0; i < NUMBERS; ++i) total[i] = 0;
#pragma unroll
        for (int i = 0; i < TOGETHER; ++i) own.forward(tile + (row + i * SIDE) * pitch, total + i * INPUTS);
        const NUMBER value = add_over_lanes<NUMBERS, LANES>(total, lane);
        if (number < TOGETHER * INPUTS && lane % (LANES / NUMBERS) == 0) {
            const int sample = row + number / INPUTS * SIDE + side;
            NUMBER* place = shares + (source * TILE + sample) * INPUTS + number % INPUTS;
#pragma unroll
            for (unsigned block = 0; block < CLUSTER; ++block) write_in_cluster(place, block, value);
        }
    }
}

// The arrays of a replicate that a network reads and writes, as below.
struct Replicate {
    const double *y, *batch, *parameters;
    long long samples;
    double *trained, *loss, *gradient, *curvature;
    bool keep;

    // The network of a tile, a lane a sample; the lanes together add up its signals.
    __device__ inline void
    evaluate(const Given& given, long long sample, bool there, int lane, const NUMBER* shares, NUMBER* pulls, double* sums) const {
        Sample own;
#pragma unroll
        for (int a = 0; a < INPUTS; ++a) own.signals[a] = 0;
#pragma unroll 4
        for (int source = lane / TILE; source < SOURCES; source += WARP / TILE)
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) own.signals[a] += (double)shares[(source * TILE + lane % TILE) * INPUTS + a];
#pragma unroll
        for (int other = TILE; other < WARP; other *= 2)
            if (other < TILE * SOURCES)
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) own.signals[a] += __shfl_xor_sync(0xffffffffu, own.signals[a], other);
        if (lane < TILE && !there)
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) pulls[lane * INPUTS + a] = 0;
        if (there) {
#pragma unroll
            for (int a = 0; a < INPUTS; ++a)
                if (keep) trained[a * samples + sample] = own.signals[a];
            differentiate_sample(own, given, parameters, samples, sample, keep, loss, gradient, curvature, sums);
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) pulls[lane * INPUTS + a] = (NUMBER)own.pulls[a];
        }
    }
};

extern "C" __global__ void __launch_bounds__((WARPS + NETWORKS) * WARP, RESIDENT) IN_CLUSTERS descend(
    const NUMBER* __restrict__ matrices,    // (replicates, samples, features)
    const double* __restrict__ weights,     // (iterations, replicates, INPUTS, features)
    const double* __restrict__ scales,      // (features), of the weights before they meet a matrix, read if SCALED
    double scale,                           // each X is this times its matrix
    const double* __restrict__ y,           // (replicates, OUTPUTS, samples)
    const double* __restrict__ batch,       // (steps, replicates, samples), read if WEIGHTED
    const double* __restrict__ parameters,  // (iterations, replicates, PARAMETERS)
    long long iteration,                    // of what has an axis of iterations
    long long kept,                         // the same of gradients and curvatures
    long long step,                         // the same of the batches
    long long samples,
    long long features,
    long long part_rows,             // samples of a part
    double* __restrict__ trained,    // (iterations, replicates, INPUTS, samples)
    double* __restrict__ loss,       // (iterations, replicates, samples)
    double* __restrict__ gradient,   // (iterations, replicates, INPUTS, samples)
    double* __restrict__ curvature,  // (iterations, replicates, INPUTS, INPUTS, samples), written if CURVATURE
    NUMBER* __restrict__ sums,       // (replicates, parts, INPUTS, features), of the samples of each part
    double* __restrict__ deep        // (replicates, parts, PARAMETERS)
) {
    const int thread = threadIdx.x, warp = thread / WARP, lane = thread % WARP;
    const unsigned member = blockIdx.x % CLUSTER;
    const long long part = blockIdx.x / CLUSTER, parts = gridDim.x / CLUSTER, replicate = blockIdx.y;
    const long long now_here = iteration * gridDim.y + replicate, kept_here = kept * gridDim.y + replicate;
    // Features of this block: rows of shared memory begin at multiples of 16 bytes.
    const int pitch = FULL ? STEP * CHUNKS : (int)((features + CLUSTER - 1) / CLUSTER + 3) / 4 * 4;
    const long long first_column = member * (long long)pitch, left = features - first_column;
    // Samples of this warp's stream: tiles of those from the first on.
    const bool first_warps = ALONE || warp < WARPS;
    const int stream = ALONE ? warp : 0;
    const long long first = part * part_rows + stream * TILE, end = (part + 1) * part_rows;
    const int rows = (int)((end < samples ? end : samples) - first);
    const int tiles = rows > 0 ? (rows + STREAMS * TILE - 1) / (STREAMS * TILE) : 0;

    matrices += replicate * samples * features + first_column;
    weights += now_here * INPUTS * features + first_column;
    scales += first_column;
    parameters += now_here * PARAMETERS;
    sums += (replicate * parts + part) * INPUTS * features + first_column;
    deep += (replicate * parts + part) * PARAMETERS;

    double* own_parameters = (double*)shared_memory;                      // (PARAMETERS)
    double* deep_sums = own_parameters + PARAMETERS;                      // (EVALUATORS, PARAMETERS)
    double* lane_sums = deep_sums + EVALUATORS * PARAMETERS;              // (NETWORKS, TILE, STRIDE)
    Barrier* summed = (Barrier*)(lane_sums + NETWORKS * TILE * STRIDE);   // (2 * PLACES)
    Barrier* pulled = summed + 2 * PLACES;                                // (PLACES)
    NUMBER* rings = (NUMBER*)(shared_memory + BEFORE);                    // (STREAMS, STAGES, TILE, pitch)
    NUMBER* partial = rings + STREAMS * STAGES * TILE * pitch;            // (STREAMS, 2 * PLACES, SOURCES, TILE, INPUTS)
    NUMBER* pulls = partial + STREAMS * 2 * PLACES * SOURCES * TILE * INPUTS;  // (STREAMS, PLACES, TILE, INPUTS)
    NUMBER* ring = rings + stream * STAGES * TILE * pitch;
    partial += stream * 2 * PLACES * SOURCES * TILE * INPUTS;
    pulls += stream * PLACES * TILE * INPUTS;

    Columns own;
    own.first = (ALONE ? lane % LANES : thread) * VECTOR;
    own.count = (int)(left < pitch ? (left > 0 ? left : 0) : pitch);
    const int side = ALONE ? lane / LANES : 0;  // of the samples that a warp has side by side
    ring += side * pitch + own.first;
    pulls += side * INPUTS;
    const NUMBER* coming = matrices + (first + side) * features + own.first;  // the next to be copied
    if (first_warps) {
#pragma unroll 1
        for (int tile = 0; tile < STAGES; ++tile) {
            for (int row = 0; row < TILE; row += SIDE, coming += SIDE * features)
                if (tile * STREAMS * TILE + row + side < rows)
                    own.begin_row(ring + (tile * TILE + row) * pitch, coming);
                else
                    own.clear_row(ring + (tile * TILE + row) * pitch);
            coming += (STREAMS - 1) * TILE * features;
            group_copies();
        }
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k)
#pragma unroll
            for (int i = 0; i < VECTOR; ++i)
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) {
                    const long long column = own.first + k * STEP + i;
                    double weight = own.has(k) ? weights[a * features + column] : 0;
                    if (SCALED && own.has(k)) weight *= scales[column];
                    own.weights[k][i][a] = (NUMBER)(weight * scale);
                    own.found[k][i][a] = 0;
                }
    }
    for (int i = thread; i < PARAMETERS; i += (WARPS + NETWORKS) * WARP) own_parameters[i] = parameters[i];
    if (!ALONE && thread == 0)
        for (int i = 0; i < 3 * PLACES; ++i) begin_rounds(summed + i, i < 2 * PLACES ? SOURCES : 1);
    sync_cluster();  // nobody writes to a block that has not begun

    const Replicate here = {
        y + replicate * OUTPUTS * samples,
        batch + (step * gridDim.y + replicate) * samples,
        own_parameters,
        samples,
        trained + now_here * INPUTS * samples,
        loss + now_here * samples,
        gradient + kept_here * INPUTS * samples,
        curvature + kept_here * INPUTS * INPUTS * samples,
        member == 0
    };
    // Sums of the deeper parameters' derivatives: a lane has its own, in registers where it has all to itself.
    double in_registers[AT_LEAST_1(ALONE * PARAMETERS)] = {};
    double* deeper = ALONE ? in_registers : lane_sums + ((warp - WARPS) * TILE + lane) * STRIDE;
    if (!first_warps && lane < TILE)
        for (int parameter = 0; parameter < PARAMETERS; ++parameter) deeper[parameter] = 0;
    if (first_warps) {
#pragma unroll 1
        for (int now = 0; now < tiles + LAG; ++now) {
            if (now < tiles) {
                const int row = now * STREAMS * TILE + lane;
                const bool there = lane < TILE && row < rows;
                const long long sample = first + row;
                Given given;
                if (ALONE && there) given = given_of(here.y, here.batch, samples, sample);
                finish_copies_but<STAGES - 1, STAGES - 1 - LAG>(STAGES - 1 - now);
                NUMBER* shares = partial + now % (2 * PLACES) * (SOURCES * TILE * INPUTS);
                const unsigned source = member * SHARERS + (ALONE ? 0 : warp);
                forward_tile(own, ring + now % STAGES * (TILE * pitch), pitch, lane, source, shares);
                __syncwarp();
                if (ALONE) {
                    here.evaluate(given, sample, there, lane, shares, pulls - side * INPUTS, deeper);
                    __syncwarp();
                } else if (lane < CLUSTER)
                    arrive_in_cluster(summed + now % (2 * PLACES), (unsigned)lane);
            }
            if (now >= LAG) {
                const int done = now - LAG, stage = done % STAGES, next = (done + STAGES) * STREAMS * TILE;
                NUMBER* tile = ring + stage * (TILE * pitch);
                const NUMBER* gradients = pulls + done % PLACES * (TILE * INPUTS);
                if (!ALONE) wait_for_round(pulled + done % PLACES, done / PLACES & 1);
#pragma unroll 4
                for (int row = 0; row < TILE; row += SIDE) own.backward(tile + row * pitch, gradients + row * INPUTS);
                if (next < rows) {
#pragma unroll 4
                    for (int row = 0; row < TILE; row += SIDE, coming += SIDE * features)
                        if (next + row + side < rows) own.begin_row(tile + row * pitch, coming);
                    coming += (STREAMS - 1) * TILE * features;
                }
                group_copies();
                if (ALONE) __syncwarp();  // nobody writes the next pulls while another reads these
            }
        }
    } else {
#pragma unroll 1
        for (int now = warp - WARPS; now < tiles; now += AT_LEAST_1(NETWORKS)) {
            const int row = now * TILE + lane;
            const bool there = lane < TILE && row < rows;
            const long long sample = first + row;
            Given given;
            if (there) given = given_of(here.y, here.batch, samples, sample);
            wait_for_round(summed + now % (2 * PLACES), now / (2 * PLACES) & 1);
            const NUMBER* shares = partial + now % (2 * PLACES) * (SOURCES * TILE * INPUTS);
            here.evaluate(given, sample, there, lane, shares, pulls + now % PLACES * (TILE * INPUTS), deeper);
            __syncwarp();
            if (lane == 0) arrive_in_cluster(pulled + now % PLACES, member);
        }
    }

    // What the block has found: sums over its streams and evaluators, in their order.
    if (ALONE || !first_warps) {
        const int evaluator = ALONE ? warp : warp - WARPS, number = lane * DEEPER / WARP;
#pragma unroll
        for (int start = 0; start < PARAMETERS; start += DEEPER) {
            double some[DEEPER];
#pragma unroll
            for (int i = 0; i < DEEPER; ++i) some[i] = lane < TILE && start + i < PARAMETERS ? deeper[start + i] : 0;
            const double total = add_over_lanes<DEEPER, WARP>(some, lane);
            if (lane % (WARP / DEEPER) == 0 && start + number < PARAMETERS)
                deep_sums[evaluator * PARAMETERS + start + number] = total;
        }
    }
    if (first_warps)
#pragma unroll
        for (int k = 0; k < CHUNKS; ++k)
#pragma unroll
            for (int i = 0; i < VECTOR; ++i)
#pragma unroll
                for (int a = 0; a < INPUTS; ++a) {
                    NUMBER total = own.found[k][i][a];
#pragma unroll
                    for (int other = LANES; other < WARP; other *= 2) total += __shfl_xor_sync(0xffffffffu, total, other);
                    const int column = k * STEP + i;
                    if (!own.has(k) || side > 0) continue;
                    if (STREAMS > 1)
                        ring[a * pitch + column] = total;
                    else
                        sums[a * features + own.first + column] = total;
                }
    sync_cluster();  // nobody ends while others write to it
    if (STREAMS > 1)
        for (int column = thread; column < own.count; column += WARPS * WARP)
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) {
                NUMBER total = 0;
                for (int each = 0; each < STREAMS; ++each) total += rings[(each * STAGES * TILE + a) * pitch + column];
                sums[a * features + column] = total;
            }
    if (member == 0)
        for (int parameter = thread; parameter < PARAMETERS; parameter += (WARPS + NETWORKS) * WARP) {
            double total = 0;
            for (int each = 0; each < EVALUATORS; ++each) total += deep_sums[each * PARAMETERS + parameter];
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
        products[replicate * size + place] = added_up(sums + replicate * parts * size + place, parts, size) * scale;
    } else if (parameter < PARAMETERS) {
        deep_gradient[replicate * PARAMETERS + parameter] =
            added_up(deep + replicate * parts * PARAMETERS + parameter, parts, PARAMETERS) / (double)samples;
    }
}
