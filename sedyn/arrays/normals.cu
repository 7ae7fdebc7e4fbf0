// Words of Philox4x32-10 and standard normals of Box and Muller, two from each counter, as sedyn/arrays/normals.py has
// them.
// NUMBER: the type that they are rounded to.

__device__ void philox(unsigned long long key, unsigned long long place, unsigned long long counter, unsigned* words) {
    unsigned a = (unsigned)counter, b = (unsigned)(counter >> 32), c = (unsigned)place, d = (unsigned)(place >> 32);
    unsigned k = (unsigned)key, l = (unsigned)(key >> 32);
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        unsigned long long p = (unsigned long long)a * 0xD2511F53u, q = (unsigned long long)c * 0xCD9E8D57u;
        a = (unsigned)(q >> 32) ^ b ^ k;
        b = (unsigned)q;
        c = (unsigned)(p >> 32) ^ d ^ l;
        d = (unsigned)p;
        k += 0x9E3779B9u;
        l += 0xBB67AE85u;
    }
    words[0] = a;
    words[1] = b;
    words[2] = c;
    words[3] = d;
}

__device__ double uniform(unsigned low, unsigned high) {
    return (double)((((unsigned long long)high << 32) | low) >> 11) * 0x1p-53;
}

// One thread a counter, a row of blocks a replicate; `streams` has the key of each, and then the place of each in what is
// not common to all.
extern "C" __global__ void random_words(
    const unsigned long long* streams, unsigned long long common, long long count, unsigned long long* out) {
    long long counter = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (2 * counter >= count) return;
    unsigned words[4];
    philox(streams[blockIdx.y], streams[gridDim.y + blockIdx.y] ^ common, (unsigned long long)counter, words);
    unsigned long long* own = out + blockIdx.y * count + 2 * counter;
    own[0] = (unsigned long long)words[1] << 32 | words[0];
    if (2 * counter + 1 < count) own[1] = (unsigned long long)words[3] << 32 | words[2];
}

extern "C" __global__ void standard_normals(
    const unsigned long long* streams, unsigned long long common, long long count, NUMBER* out) {
    long long counter = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (2 * counter >= count) return;
    unsigned words[4];
    philox(streams[blockIdx.y], streams[gridDim.y + blockIdx.y] ^ common, (unsigned long long)counter, words);
    double radius = sqrt(-2 * log(1 - uniform(words[0], words[1]))), sine, cosine;
    sincospi(2 * uniform(words[2], words[3]) - 1, &sine, &cosine);
    NUMBER* own = out + blockIdx.y * count + 2 * counter;
    own[0] = (NUMBER)(radius * cosine);
    if (2 * counter + 1 < count) own[1] = (NUMBER)(radius * sine);
}
