// What a pass over designs leaves is in parts, each of some samples; whoever goes on from it adds them up.

// What a place has in all parts, in their order.
template <class Number>
__device__ inline double added_up(const Number* part, long long parts, long long size) {
    double total = 0;
    for (long long p = 0; p < parts; ++p) total += (double)part[p * size];
    return total;
}
