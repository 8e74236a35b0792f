// What every generated kernel stands on: elementary functions that a compiler vectorises, and the counter-based generator.
// `real` is float or double, defined before this text.
#include <cmath>
#include <cstdlib>
#include <cstdint>
#include <cstring>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#ifdef _OPENMP
#include <omp.h>
static inline int thread_number() { return omp_get_thread_num(); }
#else
static inline int thread_number() { return 0; }
#endif

#ifndef LANES
#define LANES 1024
#endif

static_assert(sizeof(real) == 4 || sizeof(real) == 8, "");
template <int size> struct Word;
template <> struct Word<4> { typedef uint32_t type; static constexpr int mantissa = 23; };
template <> struct Word<8> { typedef uint64_t type; static constexpr int mantissa = 52; };
typedef Word<sizeof(real)>::type bits;
static constexpr bool single = sizeof(real) == 4;
// Adding it rounds to a whole number, whose low bits are then the low bits of the sum.
static constexpr real ROUNDER = real(3ull << (Word<sizeof(real)>::mantissa - 1));

static inline bits as_bits(real x) { bits b; std::memcpy(&b, &x, sizeof b); return b; }
static inline real from_bits(bits b) { real x; std::memcpy(&x, &b, sizeof x); return x; }

// The bound stands first, so that a NaN passes.
static inline real least(real x, real y) { return y < x ? y : x; }
static inline real greatest(real x, real y) { return y > x ? y : x; }
static inline real sign_of(real x) { return x > 0 ? real(1) : x < 0 ? real(-1) : real(0); }
// Exact at both ends, as torch's.
static inline real lerp_(real a, real b, real w) { return w < real(0.5) ? a + w * (b - a) : b - (b - a) * (1 - w); }

static inline real exp_(real x) {
    x = x > (single ? real(88.0) : real(708.0)) ? (single ? real(88.0) : real(708.0)) : x;
    x = x < (single ? real(-87.0) : real(-708.0)) ? (single ? real(-87.0) : real(-708.0)) : x;
    real shifted = x * real(1.4426950408889634) + ROUNDER;
    real k = shifted - ROUNDER;
    // ln 2 in two parts, the first with so few digits that k times it is exact.
    real r = single ? (x - k * real(0.693359375)) + k * real(2.12194440e-4)
                    : (x - k * real(6.93145751953125e-1)) - k * real(1.42860682030941723212e-6);
    real y;
    if (single) {
        y = real(1.9875691500e-4);
        y = y * r + real(1.3981999507e-3);
        y = y * r + real(8.3334519073e-3);
        y = y * r + real(4.1665795894e-2);
        y = y * r + real(1.6666665459e-1);
        y = y * r + real(5.0000001201e-1);
        y = y * r * r + r + 1;
    } else {
        real rr = r * r;
        real p = r * ((real(1.26177193074810590878e-4) * rr + real(3.02994407707441961300e-2)) * rr + real(9.99999999999999999910e-1));
        real q = ((real(3.00198505138664455042e-6) * rr + real(2.52448340349684104192e-3)) * rr + real(2.27265548208155028766e-1)) * rr + 2;
        y = 1 + 2 * p / (q - p);
    }
    bits exponent = (as_bits(shifted) + bits(single ? 127 : 1023)) << Word<sizeof(real)>::mantissa;
    return y * from_bits(exponent);
}

// Of an argument within [-π/2, π/2], by its power series.
static inline real sin_reduced(real r) {
    real s = r * r, y;
    if (single) {
        y = real(2.6083159809786593541503e-6);
        y = y * s - real(1.981069071916863322258e-4);
        y = y * s + real(8.33307858556509017944336e-3);
        y = y * s - real(1.66666597127914428710938e-1);
    } else {
        y = real(1.9572941063391263e-20);
        y = y * s - real(8.2206352466243295e-18);
        y = y * s + real(2.8114572543455206e-15);
        y = y * s - real(7.6471637318198164e-13);
        y = y * s + real(1.6059043836821613e-10);
        y = y * s - real(2.5052108385441720e-8);
        y = y * s + real(2.7557319223985893e-6);
        y = y * s - real(1.9841269841269841e-4);
        y = y * s + real(8.3333333333333333e-3);
        y = y * s - real(1.6666666666666667e-1);
    }
    return r + r * s * y;
}

// x less k π, with π in three parts: the products with the first two are exact for all k that a reasonable angle has.
static inline real less_turns(real x, real k) {
    return single ? ((x - k * real(3.140625)) - k * real(9.675025939941406e-4)) - k * real(1.5099067240953445e-7)
                  : ((x - k * real(3.1415926534682512)) - k * real(1.2154201012607932e-10)) - k * real(4.044532497422333e-21);
}

static inline real signed_by(real value, bits turns) { return from_bits(as_bits(value) ^ (turns << (8 * sizeof(real) - 1))); }

static inline real sin_(real x) {
    real shifted = x * real(0.3183098861837907) + ROUNDER;
    return signed_by(sin_reduced(less_turns(x, shifted - ROUNDER)), as_bits(shifted));
}

static inline real cos_(real x) {
    real shifted = x * real(0.3183098861837907) + real(0.5) + ROUNDER;
    return signed_by(sin_reduced(less_turns(x, shifted - ROUNDER - real(0.5))), as_bits(shifted));
}

static inline real sigmoid_(real x) { return 1 / (1 + exp_(-x)); }

static inline real tanh_(real x) {
    real e = exp_(-2 * std::fabs(x));
    real y = (1 - e) / (1 + e);
    return x < 0 ? -y : y;
}

// Of a number above 0, after Cephes: the logarithm of its mantissa within [√½, √2) by a polynomial, and its exponent times ln 2.
static inline real log_(real x) {
    constexpr int mantissa = Word<sizeof(real)>::mantissa;
    bits b = as_bits(x);
    bits biased = b >> mantissa;
    real m = from_bits((b & ((bits(1) << mantissa) - 1)) | (bits(single ? 126 : 1022) << mantissa));
    real e = from_bits(biased | as_bits(ROUNDER)) - ROUNDER - real(single ? 126 : 1022);
    bool low = m < real(0.70710678118654752440);
    e = low ? e - 1 : e;
    real f = low ? m + m - 1 : m - 1;
    real z = f * f, y;
    if (single) {
        y = real(7.0376836292e-2);
        y = y * f - real(1.1514610310e-1);
        y = y * f + real(1.1676998740e-1);
        y = y * f - real(1.2420140846e-1);
        y = y * f + real(1.4249322787e-1);
        y = y * f - real(1.6668057665e-1);
        y = y * f + real(2.0000714765e-1);
        y = y * f - real(2.4999993993e-1);
        y = y * f + real(3.3333331174e-1);
        y = y * f * z;
    } else {
        real p = real(1.01875663804580931796e-4);
        p = p * f + real(4.97494994976747001425e-1);
        p = p * f + real(4.70579119878881725854);
        p = p * f + real(14.4989225341610930846);
        p = p * f + real(17.9368678507819816313);
        p = p * f + real(7.70838733755885391666);
        real q = f + real(11.2873587189167450590);
        q = q * f + real(45.2279145837532221105);
        q = q * f + real(82.9875266912776603211);
        q = q * f + real(71.1544750618563894466);
        q = q * f + real(23.1251620126765340583);
        y = f * (z * p / q);
    }
    y = y + e * (single ? real(-2.12194440e-4) : real(-2.121944400546905827679e-4)) - z * real(0.5);
    return f + y + e * real(0.693359375);
}

// As many words as the widest registers hold, each in the low half of 64 bits; what the high half holds does not matter.
#if defined(__AVX512F__)
#define WIDE 64
#elif defined(__AVX2__)
#define WIDE 32
#else
#define WIDE 16
#endif
typedef uint64_t wide __attribute__((vector_size(WIDE)));
typedef uint32_t narrow __attribute__((vector_size(WIDE / 2)));
static constexpr uint64_t WORDS = WIDE / 8;

// The 64 bits of the products of the low halves: one instruction, which GCC does not find by itself.
static inline wide products(wide x, wide y) {
#if defined(__AVX512F__)
    return (wide)_mm512_mul_epu32((__m512i)x, (__m512i)y);
#elif defined(__AVX2__)
    return (wide)_mm256_mul_epu32((__m256i)x, (__m256i)y);
#else
    return (x & 0xFFFFFFFFu) * (y & 0xFFFFFFFFu);
#endif
}

// Philox 4x32-10: ten rounds on four words, for every lane. Reference: Salmon et al., Parallel random numbers: as easy as 1, 2, 3.
static inline void philox(uint64_t place, uint64_t block, uint32_t kind, uint64_t key, uint32_t (*w)[LANES], int lanes) {
    const wide zero = {}, first = zero + 0xD2511F53u, second = zero + 0xCD9E8D57u;
    wide at = zero + place;
    for (uint64_t j = 0; j < WORDS; j++) at[j] += j;
    // The last lanes are filled up: LANES is a multiple of WORDS.
    for (int i = 0; i < lanes; i += int(WORDS), at += WORDS) {
        wide c0 = at, c1 = at >> 32, c2 = zero + block, c3 = zero + ((block >> 32) ^ (uint64_t(kind) << 24));
        uint64_t k0 = key, k1 = key >> 32;
        for (int round = 0; round < 10; round++) {
            const wide a = products(c0, first), b = products(c2, second);
            c0 = (b >> 32) ^ c1 ^ k0, c1 = b, c2 = (a >> 32) ^ c3 ^ k1, c3 = a;
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
        const wide words[4] = {c0, c1, c2, c3};
        for (int j = 0; j < 4; j++) {
            const narrow low = __builtin_convertvector(words[j], narrow);
            std::memcpy(&w[j][i], &low, sizeof low);
        }
    }
}

// A word as a number within [0, 1): 24 of its bits where a float holds no more.
static inline real unit(uint32_t word) {
    return single ? real(int32_t(word >> 8)) * real(5.9604644775390625e-8) : real(word) * real(2.3283064365386962890625e-10);
}

// Two independent standard normal numbers from two words, by Box and Muller.
static inline void normals(uint32_t first, uint32_t second, real *x, real *y) {
    // Never 0, whose logarithm is infinite.
    real u = single ? (real(int32_t(first >> 8)) + real(0.5)) * real(5.9604644775390625e-8) : (real(first) + real(0.5)) * real(2.3283064365386962890625e-10);
    real radius = std::sqrt(-2 * log_(u));
    real angle = unit(second) * real(6.283185307179586);
    *x = radius * cos_(angle), *y = radius * sin_(angle);
}

// The four steps of a block for every lane: uniform numbers of kind 0, normal ones of kind 1.
static inline void uniform_block(uint64_t place, uint64_t block, uint64_t key, real (*u)[LANES], int lanes) {
    uint32_t w[4][LANES];
    philox(place, block, 0, key, w, lanes);
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < lanes; i++) u[j][i] = unit(w[j][i]);
}

static inline void normal_block(uint64_t place, uint64_t block, uint64_t key, real (*x)[LANES], int lanes) {
    uint32_t w[4][LANES];
    philox(place, block, 1, key, w, lanes);
    for (int j = 0; j < 4; j += 2)
        for (int i = 0; i < lanes; i++) normals(w[j][i], w[j + 1][i], &x[j][i], &x[j + 1][i]);
}

// Values per neuron for the lanes from place `first` on: neurons follow one another, batch element after batch element.
static inline void spread(const real *neurons, int64_t first, int64_t count, real *lanes, int n) {
    int64_t at = first % count;
    for (int i = 0, part; i < n; i += part, at = 0) {
        part = int(count - at < n - i ? count - at : n - i);
        std::memcpy(lanes + i, neurons + at, part * sizeof(real));
    }
}

// The other way round: what the lanes hold is added to that of their neurons.
static inline void collect(const real *lanes, int64_t first, int64_t count, real *neurons, int n) {
    int64_t at = first % count;
    for (int i = 0, part; i < n; i += part, at = 0) {
        part = int(count - at < n - i ? count - at : n - i);
        for (int j = 0; j < part; j++) neurons[at + j] += lanes[i + j];
    }
}

// Where the elements of the lanes lie in an array of these strides.
static inline void offsets(int64_t first, int64_t count, int64_t batch_stride, int64_t neuron_stride, int64_t *lanes, int n) {
    int64_t row = first / count, column = first % count;
    for (int i = 0; i < n; i++) {
        lanes[i] = row * batch_stride + column * neuron_stride;
        if (++column == count) column = 0, row++;
    }
}
