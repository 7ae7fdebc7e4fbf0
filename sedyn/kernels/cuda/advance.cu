// What a step makes of the sums that a pass over designs has left (descend.cu): the first layer's next weights and the
// other parameters' (docs/theory.md#linear-update). `sedyn.model.update.Update` defines the result;
// `sedyn.kernels.cuda.paths` launches this.
//
// Compiled by macros:
//   NUMBER      the type of the sums
//   INPUTS      q
//   PARAMETERS  of the layers above
//   NESTEROV    1 if momentum has Nesterov's form
//   LEARNS      1 if these parameters learn
//   KICKED      1 if there is gradient noise
// One thread a weight: the first index of a block counts weights, the second replicates.

#include "parts.cu"

// What one replicate's weights do in one step.
struct Update {
    double rate, momentum, decay, strength;
};

// The next value; `previous` becomes what its momentum is the difference from.
__device__ inline double advanced(Update own, double current, double* previous, double drive, double kick) {
    double change = own.strength * kick - own.rate * drive - own.rate * own.decay * current;
#if NESTEROV
    change += current;
    const double following = change + own.momentum * (change - *previous);
    *previous = change;
#else
    const double following = change + own.momentum * (current - *previous) + current;
    *previous = current;
#endif
    return following;
}

extern "C" __global__ void advance_weights(
    const NUMBER* sums,  // (replicates, parts, INPUTS, features)
    const double* deep,  // (replicates, parts, PARAMETERS)
    long long parts,
    long long samples,
    long long features,
    const double* scales,      // (features), of the weights before they meet a matrix
    const double* gains,       // (features), of the sums before they drive the weights
    const double* numbers,     // (replicates, 5): learning rate, momentum, weight decay, deep learning rate, temperature
    const double* kicks,       // (replicates, INPUTS, features), read if KICKED
    const double* deep_kicks,  // (replicates, PARAMETERS), likewise
    const double* here,        // (replicates, INPUTS, features)
    double* previous,          // of the same shape, also read
    double* following,         // of the same shape
    double* scaled,            // the same times `scales`
    const double* parameters,  // (replicates, PARAMETERS)
    double* deep_previous,     // of the same shape, also read
    double* deep_following     // of the same shape
) {
    const long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x, replicate = blockIdx.y;
    const long long size = INPUTS * features, parameter = place - size;
    numbers += replicate * 5;
    if (place < size) {
        const long long own = replicate * size + place, feature = place % features;
        const double total = added_up(sums + replicate * parts * size + place, parts, size);
        const Update update = {numbers[0], numbers[1], numbers[2], sqrt(2 * numbers[0] * numbers[4])};
        const double found =
            advanced(update, here[own], previous + own, total * gains[feature], KICKED ? kicks[own] : 0);
        following[own] = found;
        scaled[own] = found * scales[feature];
    } else if (parameter < PARAMETERS) {
        const long long own = replicate * PARAMETERS + parameter;
        const double total = added_up(deep + replicate * parts * PARAMETERS + parameter, parts, PARAMETERS);
        const Update update = {numbers[3], numbers[1], numbers[2], sqrt(2 * numbers[3] * numbers[4])};
        deep_following[own] = LEARNS ? advanced(update, parameters[own], deep_previous + own, total / (double)samples,
                                                KICKED ? deep_kicks[own] : 0)
                                     : parameters[own];
    }
}
