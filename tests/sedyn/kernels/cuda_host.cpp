// Runs kernels on the host: the threads of a cluster of blocks take turns, each until it waits for others. Who goes first
// is drawn anew at every turn, so that a result that hangs on the order shows; copies happen at once or not before they
// are waited for, as is drawn too; a barrier that some never reach ends the process.
#include "cuda_host.h"

#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <vector>

Index blockIdx, threadIdx, blockDim, gridDim;

struct Copy {
    void* to;
    const void* from;
    int bytes;
};

struct Thread {
    ucontext_t context;
    std::vector<char> stack;
    bool done;
    const unsigned* rounds;  // that this waits for to be of another parity than this
    unsigned parity;
    std::deque<std::vector<Copy>> copies;  // groups, the last one open
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

static void arrive(Barrier& barrier) {
    if (++barrier.arrived == barrier.size) {
        barrier.arrived = 0;
        ++barrier.round;
    }
}

void wait_for_round(Barrier* barrier, unsigned parity) {
    Thread& own = threads[running];
    own.rounds = &barrier->round;
    own.parity = parity;
    swapcontext(&own.context, &scheduler);
}

static void wait_at(Barrier& barrier) {
    const unsigned parity = barrier.round % 2;
    arrive(barrier);
    wait_for_round(&barrier, parity);
}

void __syncthreads() { wait_at(blocks[present]); }
void __syncwarp() { wait_at(warps[running / 32]); }
void sync_cluster() { wait_at(everyone); }

double shuffled(double value, int mask) {
    Barrier& warp = warps[running / 32];
    threads[running].sent = value;
    wait_at(warp);
    const double found = threads[running ^ (unsigned)mask].sent;
    wait_at(warp);
    return found;
}

static unsigned drawn() {
    seed = 1664525 * seed + 1013904223;
    return seed >> 8;
}

static void happen(const Copy& copy) { std::memcpy(copy.to, copy.from, copy.bytes); }

void begin_copy_of(int bytes, void* to, const void* from) {
    if ((size_t)to % bytes || (size_t)from % bytes) refuse("a copy from or to an odd place");
    const Copy copy = {to, from, bytes};
    if (drawn() % 2)
        happen(copy);
    else
        threads[running].copies.back().push_back(copy);
}

void group_copies() { threads[running].copies.emplace_back(); }

void finish_groups_but(size_t last) {
    for (auto& groups = threads[running].copies; groups.size() > last + 1; groups.pop_front())
        for (const Copy& each : groups.front()) happen(each);
}

void* in_block(void* place, unsigned block) {
    return memory_of(block) + ((unsigned char*)place - memory_of(present));
}

void begin_rounds(Barrier* barrier, unsigned size) { *barrier = {(unsigned short)size, 0, 0}; }
void arrive_in_cluster(Barrier* barrier, unsigned block) { arrive(*(Barrier*)in_block(barrier, block)); }

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
    blocks.assign(cluster, Barrier{(unsigned short)block, 0, 0});
    warps.assign((count + 31) / 32, Barrier{(unsigned short)(block < 32 ? block : 32), 0, 0});
    everyone = Barrier{(unsigned short)count, 0, 0};
    memories.assign(cluster, std::vector<unsigned char>(shared + 16, 0xff));  // as numbers NaN
    for (unsigned i = 0; i < count; ++i) {
        Thread& own = threads[i];
        own.done = false;
        own.rounds = nullptr;
        own.copies.assign(1, {});
        getcontext(&own.context);
        own.context.uc_stack.ss_sp = own.stack.data();
        own.context.uc_stack.ss_size = own.stack.size();
        makecontext(&own.context, begin, 0);
    }
    for (unsigned left = count; left > 0;) {
        bool moved = false;
        const unsigned start = drawn() % count, stride = drawn() % 2 ? 1 : count - 1;
        for (unsigned turn = 0, i = start; turn < count; ++turn, i = (i + stride) % count) {
            Thread& own = threads[i];
            if (own.done || (own.rounds && *own.rounds % 2 == own.parity)) continue;
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
    threads = std::vector<Thread>();  // every kernel is a library with threads of its own
}
