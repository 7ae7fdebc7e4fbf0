// Runs kernels on the host: the threads of a cluster of blocks take turns, each until it waits for others. Who goes first
// is drawn anew at every turn, so that a result that hangs on the order shows; copies happen when they are waited for,
// and not before; a barrier that some never reach ends the process.
#include "cuda_host.h"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

Index blockIdx, threadIdx, blockDim, gridDim;

// Those who wait for each other, so many of them.
struct Barrier {
    unsigned size, arrived, round;
};

struct Copy {
    void* to;
    const void* from;
    int bytes;
};

struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
    const Barrier* waits;
    unsigned round;
    std::vector<Copy> copies;
    double sent;
};

static std::vector<Thread> threads;
static std::vector<Barrier> blocks, warps;
static Barrier everyone;
static std::vector<std::vector<unsigned char>> memories;
static unsigned running, present;  // a thread, and its block in the cluster
static ucontext_t scheduler;
static unsigned seed = 1;  // goes on from launch to launch
static void (*body)(void**);
static void** given;

static void refuse(const char* why) {
    std::fprintf(stderr, "%s\n", why);
    std::abort();
}

static unsigned char* memory_of(unsigned block) {
    unsigned char* start = memories[block].data();
    return start + (16 - (size_t)start % 16) % 16;
}

unsigned char* shared_memory_here() { return memory_of(present); }

static void wait_at(Barrier& barrier) {
    Thread& own = threads[running];
    own.waits = &barrier;
    own.round = barrier.round;
    if (++barrier.arrived == barrier.size) {
        barrier.arrived = 0;
        ++barrier.round;
    }
    swapcontext(&own.context, &scheduler);
}

void __syncthreads() { wait_at(blocks[present]); }
void sync_cluster() { wait_at(everyone); }

double shuffled(double value, int mask) {
    Barrier& warp = warps[running / 32];
    threads[running].sent = value;
    wait_at(warp);
    const double found = threads[running ^ (unsigned)mask].sent;
    wait_at(warp);
    return found;
}

void begin_copy_of(int bytes, void* to, const void* from) {
    if ((size_t)to % bytes || (size_t)from % bytes) refuse("a copy from or to an odd place");
    threads[running].copies.push_back({to, from, bytes});
}

void finish_copies() {
    for (const Copy& each : threads[running].copies) std::memcpy(each.to, each.from, each.bytes);
    threads[running].copies.clear();
}

void write_in_cluster(double* place, unsigned block, double value) {
    *(double*)(memory_of(block) + ((unsigned char*)place - memory_of(present))) = value;
}

static void begin() {
    body(given);
    threads[running].done = true;
    swapcontext(&threads[running].context, &scheduler);
}

static void run_cluster(Index first, unsigned block, unsigned cluster, size_t shared) {
    const unsigned count = cluster * block;
    if (threads.size() != count) {
        threads = std::vector<Thread>(count);
        for (Thread& each : threads) each.stack.resize(1 << 17);
    }
    blocks.assign(cluster, Barrier{block, 0, 0});
    warps.assign((count + 31) / 32, Barrier{block < 32 ? block : 32, 0, 0});
    everyone = Barrier{count, 0, 0};
    memories.assign(cluster, std::vector<unsigned char>(shared + 16, 0xff));  // as numbers NaN
    for (unsigned i = 0; i < count; ++i) {
        Thread& own = threads[i];
        own.done = false;
        own.waits = nullptr;
        own.copies.clear();
        getcontext(&own.context);
        own.context.uc_stack.ss_sp = own.stack.data();
        own.context.uc_stack.ss_size = own.stack.size();
        makecontext(&own.context, begin, 0);
    }
    for (unsigned left = count; left > 0;) {
        bool moved = false;
        seed = 1664525 * seed + 1013904223;
        const unsigned start = (seed >> 8) % count, stride = seed >> 31 ? 1 : count - 1;
        for (unsigned turn = 0, i = start; turn < count; ++turn, i = (i + stride) % count) {
            Thread& own = threads[i];
            if (own.done || (own.waits && own.waits->round == own.round)) continue;
            running = i;
            present = i / block;
            blockIdx = {first.x + present, first.y};
            threadIdx = {i % block, 0};
            moved = true;
            swapcontext(&scheduler, &own.context);
            left -= own.done;
        }
        if (!moved) refuse("threads wait for others that never come");
    }
}

void run_grid(void (*kernel)(void**), void** arguments, Index grid, unsigned block, unsigned cluster, size_t shared) {
    gridDim = grid;
    blockDim = {block, 1};
    body = kernel;
    given = arguments;
    for (unsigned y = 0; y < grid.y; ++y)
        for (unsigned x = 0; x < grid.x; x += cluster) run_cluster({x, y}, block, cluster, shared);
}
