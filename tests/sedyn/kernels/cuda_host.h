// Enough of CUDA to compile a kernel whose threads do not talk to each other for the host, and to run them one by one.
#include <cmath>
#include <tuple>
#include <utility>

#define __global__
#define __device__
#define __host__

struct Index {
    unsigned x, y;
};
static Index blockIdx, threadIdx, blockDim, gridDim;

template <class... Parameters, std::size_t... I>
static void call(void (*kernel)(Parameters...), void** arguments, std::index_sequence<I...>) {
    kernel(*static_cast<Parameters*>(arguments[I])...);
}

// Run a kernel over a grid; arguments are pointers to values, as for cuLaunchKernel.
template <class... Parameters>
static void launch(void (*kernel)(Parameters...), Index grid, unsigned block, void** arguments) {
    gridDim = grid;
    blockDim = {block, 1};
    for (blockIdx.y = 0; blockIdx.y < grid.y; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < grid.x; ++blockIdx.x)
            for (threadIdx.x = 0; threadIdx.x < block; ++threadIdx.x)
                call(kernel, arguments, std::index_sequence_for<Parameters...>());
}
