// What kernels take of the hardware beyond the language: memory that threads of a block share, copies into it that nobody
// waits for, and on cards that have them clusters, blocks that write into each other's. Tests have the same for a host.
//
// Compiled by macros:
//   CLUSTER  blocks of a cluster; 1 needs no card that has them
#ifdef __CUDACC__

extern __shared__ __align__(16) unsigned char shared_memory[];

__device__ inline unsigned in_shared_memory(const void* place) { return (unsigned)__cvta_generic_to_shared(place); }

// Begin to copy BYTES to shared memory: 4, 8 or 16, at places that are multiples of as many.
template <int BYTES>
__device__ inline void begin_copy(void* to, const void* from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(in_shared_memory(to)), "l"(from), "n"(BYTES) : "memory");
}

// Wait for the copies that this thread has begun.
__device__ inline void finish_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }

#if CLUSTER > 1
#define IN_CLUSTERS __cluster_dims__(CLUSTER, 1, 1)

// Wait for all threads of the cluster, and see what they wrote.
__device__ inline void sync_cluster() {
    asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Write to the same place in the shared memory of one of the cluster's blocks.
__device__ inline void write_in_cluster(double* place, unsigned block, double value) {
    unsigned there;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(in_shared_memory(place)), "r"(block));
    asm volatile("st.shared::cluster.f64 [%0], %1;" ::"r"(there), "d"(value) : "memory");
}
#else
#define IN_CLUSTERS
__device__ inline void sync_cluster() { __syncthreads(); }
__device__ inline void write_in_cluster(double* place, unsigned, double value) { *place = value; }
#endif

#endif
