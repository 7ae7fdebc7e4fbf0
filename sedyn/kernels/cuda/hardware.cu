// What kernels take of the hardware beyond the language: memory that threads of a block share, copies into it that nobody
// waits for, barriers at which some arrive and others wait, and on cards that have them clusters, blocks that write into
// each other's. Tests have the same for a host.
//
// Compiled by macros:
//   CLUSTER  blocks of a cluster; 1 needs no card that has them
#ifdef __CUDACC__

extern __shared__ __align__(16) unsigned char shared_memory[];

__device__ inline unsigned in_shared_memory(const void* place) { return (unsigned)__cvta_generic_to_shared(place); }

// Begin to copy BYTES to shared memory: 4, 8 or 16, at places that are multiples of as many.
template <int BYTES>
__device__ inline void begin_copy(void* to, const void* from) {
    if (BYTES == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(in_shared_memory(to)), "l"(from) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(in_shared_memory(to)), "l"(from), "n"(BYTES) : "memory");
}

// What this thread has begun to copy since it last said so is a group.
__device__ inline void group_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait for the groups of this thread, but for the last few.
template <int LAST>
__device__ inline void finish_copies() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LAST) : "memory");
}

// In shared memory: a round ends when so many have arrived, and the next begins.
struct Barrier {
    unsigned long long state;
};

__device__ inline void begin_rounds(Barrier* barrier, unsigned size) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(in_shared_memory(barrier)), "r"(size) : "memory");
}

// Whether the round of this parity has ended; what was written before others arrived is seen then.
__device__ inline bool has_ended(Barrier* barrier, unsigned parity) {
    unsigned ended;
    asm volatile(
        "{ .reg .pred ended;\n"
#if CLUSTER > 1
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 ended, [%1], %2;\n"
#elif __CUDA_ARCH__ >= 900
        "mbarrier.try_wait.parity.shared.b64 ended, [%1], %2;\n"
#else
        "mbarrier.test_wait.parity.shared.b64 ended, [%1], %2;\n"
#endif
        "selp.u32 %0, 1, 0, ended; }"
        : "=r"(ended)
        : "r"(in_shared_memory(barrier)), "r"(parity)
        : "memory");
    return ended;
}

__device__ inline void wait_for_round(Barrier* barrier, unsigned parity) {
    while (!has_ended(barrier, parity)) {
#if __CUDA_ARCH__ < 900
        __nanosleep(20);
#endif
    }
}

#if CLUSTER > 1
#define IN_CLUSTERS __cluster_dims__(CLUSTER, 1, 1)

// Wait for all threads of the cluster, and see what they wrote.
__device__ inline void sync_cluster() {
    __syncwarp();
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// The same place in the shared memory of one of the cluster's blocks.
__device__ inline unsigned in_block(const void* place, unsigned block) {
    unsigned there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(in_shared_memory(place)), "r"(block));
    return there;
}

__device__ inline void write_in_cluster(double* place, unsigned block, double value) {
    asm volatile("st.shared::cluster.f64 [%0], %1;" ::"r"(in_block(place, block)), "d"(value) : "memory");
}
__device__ inline void write_in_cluster(float* place, unsigned block, float value) {
    asm volatile("st.shared::cluster.f32 [%0], %1;" ::"r"(in_block(place, block)), "f"(value) : "memory");
}

__device__ inline void arrive_in_cluster(Barrier* barrier, unsigned block) {
    asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(in_block(barrier, block)) : "memory");
}
#else
#define IN_CLUSTERS
__device__ inline void sync_cluster() { __syncthreads(); }
template <class Number>
__device__ inline void write_in_cluster(Number* place, unsigned, Number value) {
    *place = value;
}
__device__ inline void arrive_in_cluster(Barrier* barrier, unsigned) {
    asm volatile("{ .reg .b64 state; mbarrier.arrive.shared.b64 state, [%0]; }" ::"r"(in_shared_memory(barrier)) : "memory");
}
#endif

#endif
