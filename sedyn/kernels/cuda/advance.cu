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

// Set the next value, which is `all` behind the present one. Momentum is the difference from the value before it, or in
// Nesterov's form from `ahead`, and at iteration 0 from the value itself.
__device__ inline void
step_from(Update own, double* value, long long all, double* ahead, long long iteration, double drive, double kick) {
    const double current = *value;
    double change = own.strength * kick - own.rate * drive - own.rate * own.decay * current;
#if NESTEROV
    const double previous = iteration > 0 ? *ahead : current;
    change += current;
    value[all] = change + own.momentum * (change - previous);
    *ahead = change;
#else
    const double previous = iteration > 0 ? value[-all] : current;
    value[all] = change + own.momentum * (current - previous) + current;
#endif
}

extern "C" __global__ void advance_weights(
    const NUMBER* sums,  // (replicates, parts, INPUTS, features)
    const double* deep,  // (replicates, parts, PARAMETERS)
    long long parts,
    long long samples,
    long long features,
    long long iteration,  // from which the step leads to the next
    long long steps,
    const double* scales,      // (features), of the weights before they meet a matrix
    double gain,               // of the sums, beside the scales, before they drive the weights
    const double* numbers,     // (replicates, steps, 5): learning rate, momentum, weight decay, deep learning rate, temperature
    const double* kicks,       // (steps, replicates, INPUTS, features), read if KICKED
    const double* deep_kicks,  // (steps, replicates, PARAMETERS), likewise
    double* first,             // (steps + 1, replicates, INPUTS, features), read up to the iteration
    double* ahead,             // (replicates, INPUTS, features), in Nesterov's form from where the weights look ahead
    double* parameters,        // (steps + 1, replicates, PARAMETERS), as `first`
    double* deep_ahead         // (replicates, PARAMETERS), as `ahead`
) {
    const long long place = (long long)blockIdx.x * blockDim.x + threadIdx.x, replicate = blockIdx.y;
    const long long size = INPUTS * features, parameter = place - size;
    numbers += (replicate * steps + iteration) * 5;
    if (place < size) {
        const long long own = replicate * size + place, all = gridDim.y * size, here = iteration * all + own;
        const double factor = scales[place % features] * gain;
        const double total = added_up(sums + replicate * parts * size + place, parts, size);
        const Update update = {numbers[0], numbers[1], numbers[2], sqrt(2 * numbers[0] * numbers[4])};
        step_from(update, first + here, all, ahead + own, iteration, total * factor, KICKED ? kicks[here] : 0);
    } else if (parameter < PARAMETERS) {
        const long long own = replicate * PARAMETERS + parameter, all = gridDim.y * PARAMETERS, here = iteration * all + own;
        const double total = added_up(deep + replicate * parts * PARAMETERS + parameter, parts, PARAMETERS);
        const Update update = {numbers[3], numbers[1], numbers[2], sqrt(2 * numbers[3] * numbers[4])};
        if (LEARNS)
            step_from(update, parameters + here, all, deep_ahead + own, iteration, total / (double)samples,
                      KICKED ? deep_kicks[here] : 0);
        else
            parameters[here + all] = parameters[here];
    }
}
