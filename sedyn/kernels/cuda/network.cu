// The network, one thread a sample: everything about a sample stays in registers between one reading of its
// pre-activations and one writing of its outputs, or of its loss, gradient and curvature (docs/theory.md#gradient,
// docs/theory.md#curvature). `sedyn.model.network` defines the results; `sedyn.kernels.cuda.launch` launches this and
// says how the two correspond, and ``descend.cu`` has the same between two products with a design.
//
// Compiled for one network by macros, see `sedyn.kernels.program`:
//   INPUTS         q, the first rows
//   ROWS           signals that a sample has on its way
//   OUTPUT         the first row of the outputs
//   OUTPUTS        C
//   PARAMETERS     numbers in the packed array
//   OPERATIONS     how many there are
//   PROGRAM        them, each as {kind, source, given, target, units, place}; {} if there are none
//   REACHED        for each row, as bits, the inputs that it depends on
//   ACTIVATE       the value at x of activation number `which`, the place of an operation that activates: functions
//                  below of one number, named by the entries of `sedyn.model.functions.ACTIVATIONS`
//   LOSS           a function below of all outputs and labels, or each<one of a single output and label>, named by the
//                  entries of `LOSSES`
//   JOINT          1 for the former
//   LOSS_NUMBERS   the numbers of the loss's family, with commas between; 0 if it has none
//   WEIGHTED       1 if samples carry mini-batch weights
//   CURVATURE      1 if D is wanted
// All arrays are in double precision with samples last; replicates come first and are the blocks' second index. Operations
// are template arguments and every loop but that over samples is unrolled, so that what rows number are registers.

#define AT_LEAST_1(n) ((n) > 0 ? (n) : 1)

struct Jet {
    double f, df, d2f;
};

__device__ inline double logistic_function(double x) { return 0.5 * (1 + tanh(0.5 * x)); }
__device__ inline double softplus_function(double x) { return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)); }

// Activations.

__device__ inline Jet identity(double x) { return {x, 1, 0}; }

__device__ inline Jet tanh_(double x) {
    const double f = tanh(x), df = 1 - f * f;
    return {f, df, -2 * f * df};
}

__device__ inline Jet erf_(double x) {
    const double df = 1.1283791670955126 * exp(-x * x);  // 2 / sqrt(pi)
    return {erf(x), df, -2 * x * df};
}

__device__ inline Jet sigmoid(double x) {
    const double f = logistic_function(x), df = f * (1 - f);
    return {f, df, df * (1 - 2 * f)};
}

__device__ inline Jet softplus(double x) {
    const double s = logistic_function(x);
    return {softplus_function(x), s, s * (1 - s)};
}

__device__ inline Jet gelu(double x) {
    const double cdf = 0.5 * (1 + erf(x * 0.70710678118654752));  // 1 / sqrt(2)
    const double pdf = exp(-0.5 * x * x) * 0.39894228040143268;   // 1 / sqrt(2 pi)
    return {x * cdf, cdf + x * pdf, pdf * (2 - x * x)};
}

__device__ inline Jet silu(double x) {
    const Jet s = sigmoid(x);
    return {x * s.f, s.f + x * s.df, 2 * s.df + x * s.d2f};
}

__device__ inline Jet relu(double x) {
    const double on = x > 0 ? 1 : 0;
    return {x * on, on, 0};
}

__device__ inline Jet activate(int which, double x) { return ACTIVATE; }

// Losses of one output.

__device__ const double loss_numbers[] = {LOSS_NUMBERS};

__device__ inline Jet squared(double f, double y) {
    const double residual = f - y;
    return {0.5 * residual * residual, residual, 1};
}

__device__ inline Jet logistic(double f, double y) {
    const double margin = y * f, miss = logistic_function(-margin);
    return {softplus_function(-margin), -y * miss, miss * (1 - miss)};
}

__device__ inline Jet huber(double f, double y) {
    const double residual = f - y, threshold = loss_numbers[0];
    const double clipped = residual > threshold ? threshold : residual < -threshold ? -threshold : residual;
    return {clipped * (residual - 0.5 * clipped), clipped, fabs(residual) < threshold ? 1.0 : 0.0};
}

__device__ inline Jet absolute(double f, double y) {
    const double residual = f - y, width = loss_numbers[0];
    const double radius = hypot(residual, width), cosine = width / radius;
    return {residual * (residual / (radius + width)), residual / radius, cosine * cosine / radius};
}

// Losses of all outputs together, and their derivatives.

struct Losses {
    double value, slopes[OUTPUTS], bends[OUTPUTS][OUTPUTS];
};

template <Jet (*loss)(double, double)>
__device__ inline Losses each(const double* outputs, const double* labels) {
    Losses found = {};
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) {
        const Jet jet = loss(outputs[c], labels[c]);
        found.value += jet.f;
        found.slopes[c] = jet.df;
        found.bends[c][c] = jet.d2f;
    }
    return found;
}

__device__ inline Losses softmax(const double* f, const double* y) {
    Losses found = {};
    double largest = f[0], total = 0, right = 0, p[OUTPUTS];
#pragma unroll
    for (int c = 1; c < OUTPUTS; ++c) largest = f[c] > largest ? f[c] : largest;
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) {
        p[c] = exp(f[c] - largest);
        total += p[c];
        right += f[c] * y[c];
    }
    found.value = log(total) + largest - right;
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) p[c] /= total;
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) {
        found.slopes[c] = p[c] - y[c];
#pragma unroll
        for (int other = 0; other < OUTPUTS; ++other) found.bends[c][other] = p[c] * ((c == other ? 1 : 0) - p[other]);
    }
    return found;
}

// The program.

enum Kind { ACTIVATION, BIAS, DENSE, ADD };  // by the numbers of `sedyn.kernels.program.Kind`

struct Operation {
    int kind, source, given, target, units, place;
};

__host__ __device__ constexpr Operation operation(int step) {
    constexpr Operation program[AT_LEAST_1(OPERATIONS)] = {PROGRAM};
    return program[step];
}

__device__ constexpr unsigned reached[ROWS] = {REACHED};
__device__ inline bool reaches(int input, int row) { return reached[row] >> input & 1; }

// What there is of a sample. Slopes and bends are those of activations, pulls derivatives of the weighted loss in the
// signals, and tangents derivatives of the signals in h, set where a row depends on an input.
struct Sample {
    double signals[ROWS], slopes[ROWS], bends[ROWS], pulls[ROWS];
#if CURVATURE
    double tangents[ROWS][INPUTS];
    double second[INPUTS][INPUTS];  // D, its upper triangle
#endif
};

// Each kind of operation: forward, backward, and forward again with tangents, once the pulls are known.
template <int KIND, int STEP>
struct Step;

template <int STEP>
struct Step<ACTIVATION, STEP> {
    static __device__ inline void forward(Sample& own, const double*) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit) {
            const Jet jet = activate(now.place, own.signals[now.source + unit]);
            own.signals[now.target + unit] = jet.f;
            own.slopes[now.target + unit] = jet.df;
            own.bends[now.target + unit] = jet.d2f;
        }
    }

    static __device__ inline void backward(Sample& own, const double*, double*) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit) {
            own.bends[now.target + unit] *= own.pulls[now.target + unit];
            own.pulls[now.source + unit] += own.pulls[now.target + unit] * own.slopes[now.target + unit];
        }
    }

#if CURVATURE
    static __device__ inline void bend(Sample& own, const double*) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit)
#pragma unroll
            for (int a = 0; a < INPUTS; ++a)
                if (reaches(a, now.source + unit)) {
                    const double tangent = own.tangents[now.source + unit][a];
                    own.tangents[now.target + unit][a] = own.slopes[now.target + unit] * tangent;
#pragma unroll
                    for (int b = a; b < INPUTS; ++b)
                        if (reaches(b, now.source + unit))
                            own.second[a][b] += tangent * own.tangents[now.source + unit][b] * own.bends[now.target + unit];
                }
    }
#endif
};

template <int STEP>
struct Step<BIAS, STEP> {
    static __device__ inline void forward(Sample& own, const double* parameters) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit)
            own.signals[now.target + unit] = own.signals[now.source + unit] + parameters[now.place + unit];
    }

    static __device__ inline void backward(Sample& own, const double*, double* sums) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit) {
            own.pulls[now.source + unit] += own.pulls[now.target + unit];
            sums[now.place + unit] += own.pulls[now.target + unit];
        }
    }

#if CURVATURE
    static __device__ inline void bend(Sample& own, const double*) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit)
#pragma unroll
            for (int a = 0; a < INPUTS; ++a)
                if (reaches(a, now.source + unit))
                    own.tangents[now.target + unit][a] = own.tangents[now.source + unit][a];
    }
#endif
};

template <int STEP>
struct Step<DENSE, STEP> {
    static __device__ inline void forward(Sample& own, const double* parameters) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int b = 0; b < now.units; ++b) {
            double total = 0;
#pragma unroll
            for (int a = 0; a < now.given; ++a)
                total += parameters[now.place + a * now.units + b] * own.signals[now.source + a];
            own.signals[now.target + b] = total;
        }
    }

    static __device__ inline void backward(Sample& own, const double* parameters, double* sums) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int a = 0; a < now.given; ++a)
#pragma unroll
            for (int b = 0; b < now.units; ++b) {
                const double pull = own.pulls[now.target + b];
                own.pulls[now.source + a] += parameters[now.place + a * now.units + b] * pull;
                sums[now.place + a * now.units + b] += own.signals[now.source + a] * pull;
            }
    }

#if CURVATURE
    static __device__ inline void bend(Sample& own, const double* parameters) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int b = 0; b < now.units; ++b)
#pragma unroll
            for (int input = 0; input < INPUTS; ++input) {
                double total = 0;
#pragma unroll
                for (int a = 0; a < now.given; ++a)
                    if (reaches(input, now.source + a))
                        total += parameters[now.place + a * now.units + b] * own.tangents[now.source + a][input];
                own.tangents[now.target + b][input] = total;
            }
    }
#endif
};

template <int STEP>
struct Step<ADD, STEP> {
    static __device__ inline void forward(Sample& own, const double*) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit)
            own.signals[now.target + unit] = own.signals[now.source + unit] + own.signals[now.place + unit];
    }

    static __device__ inline void backward(Sample& own, const double*, double*) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit) {
            own.pulls[now.source + unit] += own.pulls[now.target + unit];
            own.pulls[now.place + unit] += own.pulls[now.target + unit];
        }
    }

#if CURVATURE
    static __device__ inline void bend(Sample& own, const double*) {
        constexpr Operation now = operation(STEP);
#pragma unroll
        for (int unit = 0; unit < now.units; ++unit)
#pragma unroll
            for (int a = 0; a < INPUTS; ++a) {
                double total = reaches(a, now.source + unit) ? own.tangents[now.source + unit][a] : 0;
                if (reaches(a, now.place + unit)) total += own.tangents[now.place + unit][a];
                own.tangents[now.target + unit][a] = total;
            }
    }
#endif
};

// The operations from a step on.
template <int STEP, bool MORE>
struct From {
    using Now = Step<operation(STEP).kind, STEP>;
    using Next = From<STEP + 1, (STEP + 1 < OPERATIONS)>;

    static __device__ inline void forward(Sample& own, const double* parameters) {
        Now::forward(own, parameters);
        Next::forward(own, parameters);
    }

    static __device__ inline void backward(Sample& own, const double* parameters, double* sums) {
        Next::backward(own, parameters, sums);
        Now::backward(own, parameters, sums);
    }

#if CURVATURE
    static __device__ inline void bend(Sample& own, const double* parameters) {
        Now::bend(own, parameters);
        Next::bend(own, parameters);
    }
#endif
};

template <int STEP>
struct From<STEP, false> {
    static __device__ inline void forward(Sample&, const double*) {}
    static __device__ inline void backward(Sample&, const double*, double*) {}
#if CURVATURE
    static __device__ inline void bend(Sample&, const double*) {}
#endif
};

using Program = From<0, (OPERATIONS > 0)>;

// What a sample is trained to.
struct Given {
    double labels[OUTPUTS], weight;
};

__device__ inline Given given_of(const double* y, const double* batch, long long samples, long long sample) {
    Given found;
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) found.labels[c] = y[c * samples + sample];
    found.weight = WEIGHTED ? batch[sample] : 1;
    return found;
}

// Loss, gradient and curvature of one sample, whose pre-activations are the first signals; what each parameter's
// derivative adds to its sum is added to `sums`. Arrays are those of one replicate, and written if `keep`. Afterwards
// the first pulls are the gradient.
__device__ inline void differentiate_sample(
    Sample& own,
    const Given& given,
    const double* parameters,
    long long samples,
    long long sample,
    bool keep,
    double* loss,
    double* gradient,
    double* curvature,
    double* sums
) {
#pragma unroll
    for (int row = 0; row < ROWS; ++row) own.pulls[row] = 0;
    Program::forward(own, parameters);

    const Losses error = LOSS(own.signals + OUTPUT, given.labels);
    const double weight = given.weight;
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) own.pulls[OUTPUT + c] = error.slopes[c] * weight;
    Program::backward(own, parameters, sums);
    if (keep) {
        loss[sample] = error.value;
#pragma unroll
        for (int a = 0; a < INPUTS; ++a) gradient[a * samples + sample] = own.pulls[a];
    }

#if CURVATURE
#pragma unroll
    for (int a = 0; a < INPUTS; ++a) {
        own.tangents[a][a] = 1;
#pragma unroll
        for (int b = a; b < INPUTS; ++b) own.second[a][b] = 0;
    }
    Program::bend(own, parameters);
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c)
#pragma unroll
        for (int b = 0; b < INPUTS; ++b) {
            double bent = 0;  // derivative in h_b of the loss's derivative in output c
#pragma unroll
            for (int other = 0; other < OUTPUTS; ++other)
                if ((JOINT || other == c) && reaches(b, OUTPUT + other))
                    bent += error.bends[c][other] * weight * own.tangents[OUTPUT + other][b];
#pragma unroll
            for (int a = 0; a <= b; ++a)
                if (reaches(a, OUTPUT + c)) own.second[a][b] += own.tangents[OUTPUT + c][a] * bent;
        }
    if (keep) {
#pragma unroll
        for (int a = 0; a < INPUTS; ++a)
#pragma unroll
            for (int b = a; b < INPUTS; ++b) {
                curvature[(a * INPUTS + b) * samples + sample] = own.second[a][b];
                curvature[(b * INPUTS + a) * samples + sample] = own.second[a][b];
            }
    }
#endif
}

extern "C" __global__ void differentiate(
    const double* h,           // (replicates, INPUTS, samples)
    const double* y,           // (replicates, OUTPUTS, samples)
    const double* batch,       // (replicates, samples), read if WEIGHTED
    const double* parameters,  // (replicates, PARAMETERS)
    long long samples,
    double* loss,       // (replicates, samples)
    double* gradient,   // (replicates, INPUTS, samples)
    double* curvature,  // (replicates, INPUTS, INPUTS, samples), written if CURVATURE
    double* deep        // (replicates, PARAMETERS, threads), sums over the samples that a thread had
) {
    const long long threads = (long long)gridDim.x * blockDim.x;
    const long long thread = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long replicate = blockIdx.y;
    h += replicate * INPUTS * samples;
    y += replicate * OUTPUTS * samples;
    batch += replicate * samples;
    parameters += replicate * PARAMETERS;
    loss += replicate * samples;
    gradient += replicate * INPUTS * samples;
    curvature += replicate * INPUTS * INPUTS * samples;
    deep += replicate * PARAMETERS * threads;

    double sums[AT_LEAST_1(PARAMETERS)] = {};
    for (long long sample = thread; sample < samples; sample += threads) {
        Sample own;
#pragma unroll
        for (int a = 0; a < INPUTS; ++a) own.signals[a] = h[a * samples + sample];
        const Given given = given_of(y, batch, samples, sample);
        differentiate_sample(own, given, parameters, samples, sample, true, loss, gradient, curvature, sums);
    }
#pragma unroll
    for (int parameter = 0; parameter < PARAMETERS; ++parameter) deep[parameter * threads + thread] = sums[parameter];
}

extern "C" __global__ void forward(
    const double* h,           // (replicates, INPUTS, samples)
    const double* parameters,  // (replicates, PARAMETERS)
    long long samples,
    double* outputs  // (replicates, OUTPUTS, samples)
) {
    const long long sample = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long replicate = blockIdx.y;
    if (sample >= samples) return;
    h += replicate * INPUTS * samples;
    outputs += replicate * OUTPUTS * samples;

    Sample own;
#pragma unroll
    for (int a = 0; a < INPUTS; ++a) own.signals[a] = h[a * samples + sample];
    Program::forward(own, parameters + replicate * PARAMETERS);
#pragma unroll
    for (int c = 0; c < OUTPUTS; ++c) outputs[c * samples + sample] = own.signals[OUTPUT + c];
}
