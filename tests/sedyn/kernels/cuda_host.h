// Enough of CUDA to compile kernels for the host; cuda_host.cpp runs them there.
#include <cmath>
#include <cstddef>

#define __global__
#define __device__
#define __host__
#define __shared__ static  // blocks run one after another, but for those of a cluster
#define __launch_bounds__(...)
#define IN_CLUSTERS

static inline void sincospi(double x, double* sine, double* cosine) {
    *sine = std::sin(x * 3.14159265358979323846);
    *cosine = std::cos(x * 3.14159265358979323846);
}

struct Index {
    unsigned x, y;
};
extern Index blockIdx, threadIdx, blockDim, gridDim;

unsigned char* shared_memory_here();
#define shared_memory shared_memory_here()
void __syncthreads();
void sync_cluster();
void __syncwarp();
double shuffled(double value, int mask);
void begin_copy_of(int bytes, void* to, const void* from);
void group_copies();
void finish_groups_but(size_t last);
void* in_block(void* place, unsigned block);

// Rounds are counted, up to what lies in eight bytes of shared memory.
struct Barrier {
    unsigned short size, arrived;
    unsigned round;
};
void begin_rounds(Barrier* barrier, unsigned size);
void wait_for_round(Barrier* barrier, unsigned parity);
void arrive_in_cluster(Barrier* barrier, unsigned block);

template <class Number>
static Number __shfl_xor_sync(unsigned, Number value, int mask) {
    return (Number)shuffled(value, mask);
}

template <class Number>
static void write_in_cluster(Number* place, unsigned block, Number value) {
    *(Number*)in_block(place, block) = value;
}

template <int BYTES>
static void begin_copy(void* to, const void* from) {
    begin_copy_of(BYTES, to, from);
}

template <int LAST>
static void finish_copies() {
    finish_groups_but(LAST);
}

void run_grid(void (*body)(void**), void** arguments, Index grid, unsigned block, unsigned cluster, size_t shared);

// Call a kernel; arguments are pointers to values, as for cuLaunchKernel.
template <size_t... I>
struct Places {};
template <size_t N, size_t... I>
struct First : First<N - 1, N - 1, I...> {};
template <size_t... I>
struct First<0, I...> {
    using Found = Places<I...>;
};
template <class... Parameters, size_t... I>
static void call(void (*kernel)(Parameters...), void** arguments, Places<I...>) {
    kernel(*static_cast<Parameters*>(arguments[I])...);
}
template <class... Parameters>
static void call(void (*kernel)(Parameters...), void** arguments) {
    call(kernel, arguments, typename First<sizeof...(Parameters)>::Found());
}
