// Packed weights times quantised activations, over an instruction set `T` (see isa_*.hpp).
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "elementwise.inl"

namespace auricle {
namespace {

constexpr float kFaint = 1e-36f;

inline int32_t word(const int8_t* p) {
    int32_t x;
    std::memcpy(&x, p, 4);
    return x;
}

// What a row of activations is multiplied by for one group: its own scale, and for int4 the weights' too.
template <class T, Bits B>
typename T::F group_scale(const Packed& w, int block, int group, float x) {
    if constexpr (B == Bits::four) {
        const auto* scales = static_cast<const uint16_t*>(w.scales);
        return T::mul(T::load_half(scales + (static_cast<size_t>(block) * w.groups() + group) * kLanes), T::set(x));
    }
    return T::set(x);
}

// int8 has one scale a row, which is multiplied last.
template <class T, Bits B>
typename T::F row_scale(const Packed& w, int block, typename T::F sum) {
    if constexpr (B == Bits::eight) {
        return T::mul(sum, T::load(static_cast<const float*>(w.scales) + static_cast<size_t>(block) * kLanes));
    }
    return sum;
}

// A few rows of activations: weights are read once and never written anywhere, so memory is the limit.
// Writes `(rows, 16)` sums of one block into `out`.
template <class T, Bits B, int R>
void few_rows(const Packed& w, const Quantised& x, int block, float* out) {
    using I = typename T::I;
    using F = typename T::F;
    constexpr int raised = B == Bits::four ? T::kRaised4 : T::kRaised8;
    const int groups = w.groups();
    const uint8_t* p = w.weight + static_cast<size_t>(block) * groups * w.group_bytes();
    F total[R];
    for (int r = 0; r < R; r++) total[r] = T::zero();
    for (int g = 0; g < groups; g++, p += w.group_bytes()) {
        T::prefetch(p + 4096);
        I even[R], odd[R];  // two sums, so that one product needn't wait for the one before it
        for (int r = 0; r < R; r++) {
            even[r] = T::set_i(-raised * x.sums[static_cast<size_t>(r) * groups + g]);
            odd[r] = T::set_i(0);
        }
        const int8_t* q = x.q + static_cast<size_t>(g) * kGroup;
        const size_t stride = static_cast<size_t>(groups) * kGroup;
        for (int v = 0; v < 4; v++) {
            typename T::W first, second;
            int at = 4 * v, other = 16 + 4 * v;
            if constexpr (B == Bits::four) {
                const auto both = T::load_w(p + kWord * v);
                first = T::low4(both);
                second = T::high4(both);
                if (v != 3) T::prefetch(p + 4096 + kWord * (v + 1));
            } else {
                first = T::prepare8(T::load_w(p + kWord * 2 * v));
                second = T::prepare8(T::load_w(p + kWord * (2 * v + 1)));
                at = 8 * v, other = 8 * v + 4;
            }
            for (int r = 0; r < R; r++) {
                even[r] = T::template dot<B>(even[r], first, word(q + r * stride + at));
                odd[r] = T::template dot<B>(odd[r], second, word(q + r * stride + other));
            }
        }
        for (int r = 0; r < R; r++) {
            const F scale = group_scale<T, B>(w, block, g, x.scales[static_cast<size_t>(r) * groups + g]);
            total[r] = T::fma(T::to_f(T::add_i(even[r], odd[r])), scale, total[r]);
        }
    }
    for (int r = 0; r < R; r++) T::store(out + r * kLanes, row_scale<T, B>(w, block, total[r]));
}

// Unpacks some groups of a block into `(groups, 8 words, 64)` bytes, ready for `dot`.
template <class T, Bits B>
void unpack(const Packed& w, int block, int group, int count, uint8_t* to) {
    const uint8_t* p = w.weight + (static_cast<size_t>(block) * w.groups() + group) * w.group_bytes();
    for (int g = 0; g < count; g++, p += w.group_bytes(), to += kWords * kWord) {
        if constexpr (B == Bits::four) {
            for (int v = 0; v < 4; v++) {
                const auto both = T::load_w(p + kWord * v);
                T::store_w(to + kWord * v, T::low4(both));
                T::store_w(to + kWord * (4 + v), T::high4(both));
            }
        } else {
            for (int v = 0; v < kWords; v++) T::store_w(to + kWord * v, T::prepare8(T::load_w(p + kWord * v)));
        }
    }
}

// R rows times `V` unpacked blocks over `count` groups, added to `sums`, `(rows, V * 16)`.
template <class T, Bits B, int R, int V>
void tile(const uint8_t* unpacked, const typename T::F* scales, const Quantised& x, int row, int group, int count,
          float* sums) {
    using I = typename T::I;
    using F = typename T::F;
    constexpr int raised = B == Bits::four ? T::kRaised4 : T::kRaised8;
    const size_t block_bytes = static_cast<size_t>(count) * kWords * kWord;
    F total[R][V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) total[r][v] = T::load(sums + (r * V + v) * kLanes);
    for (int g = 0; g < count; g++) {
        I sum[R][V];
        const int8_t* q[R];
        for (int r = 0; r < R; r++) {
            const size_t at = static_cast<size_t>(row + r) * x.groups + group + g;
            q[r] = x.q + at * kGroup;
            const I start = T::set_i(-raised * x.sums[at]);
            for (int v = 0; v < V; v++) sum[r][v] = start;
        }
        const uint8_t* p = unpacked + static_cast<size_t>(g) * kWords * kWord;
#pragma GCC unroll 8
        for (int k = 0; k < kWords; k++) {
            typename T::W w[V];
            for (int v = 0; v < V; v++) w[v] = in_register<T>(T::load_w(p + v * block_bytes + k * kWord));
            for (int r = 0; r < R; r++) {
                const int32_t xs = word(q[r] + 4 * k);
                for (int v = 0; v < V; v++) sum[r][v] = T::template dot<B>(sum[r][v], w[v], xs);
            }
        }
        for (int r = 0; r < R; r++) {
            const F x_scale = T::set(x.scales[static_cast<size_t>(row + r) * x.groups + group + g]);
            for (int v = 0; v < V; v++) {
                const F scale = B == Bits::four ? T::mul(scales[v * count + g], x_scale) : x_scale;
                total[r][v] = T::fma(T::to_f(sum[r][v]), scale, total[r][v]);
            }
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) T::store(sums + (r * V + v) * kLanes, total[r][v]);
}

// All rows times V blocks: `sums`, `(rows, V * 16)`. A stretch of the weights is unpacked into the first-level cache
// and meets every row before the next one comes.
template <class T, Bits B, int V>
void many_rows(const Packed& w, const Quantised& x, int row, int rows, int block, float* sums) {
    constexpr int stretch = 16;  // groups: V * 8 KB unpacked
    constexpr int R = T::kTileRows;
    alignas(64) uint8_t unpacked[V * stretch * kWords * kWord];
    typename T::F scales[V * stretch];
    std::memset(sums, 0, sizeof(float) * rows * V * kLanes);
    for (int g = 0; g < w.groups(); g += stretch) {
        const int count = w.groups() - g < stretch ? w.groups() - g : stretch;
        for (int v = 0; v < V; v++) {
            unpack<T, B>(w, block + v, g, count, unpacked + static_cast<size_t>(v) * count * kWords * kWord);
            for (int i = 0; i < count; i++) scales[v * count + i] = group_scale<T, B>(w, block + v, g + i, 1.0f);
        }
        int r = 0;
        for (; r + R <= rows; r += R) tile<T, B, R, V>(unpacked, scales, x, row + r, g, count, sums + r * V * kLanes);
        for (; r < rows; r++) tile<T, B, 1, V>(unpacked, scales, x, row + r, g, count, sums + r * V * kLanes);
    }
    for (int v = 0; v < V; v++)
        for (int r = 0; r < rows; r++) {
            float* at = sums + (r * V + v) * kLanes;
            T::store(at, row_scale<T, B>(w, block + v, T::load(at)));
        }
}

// Rows of activations, float or bfloat16, to int8 in groups of 32. What is missing of the last group counts as zero, and
// so does a group with nothing above `kFaint`, whose inverse scale would be infinite. A row that holds an infinite number
// or NaN gives NaN everywhere: rounded to int8, it would look like any other.
template <class T>
void quantise(const void* x, Dtype dtype, int width, const Range& range, int row, const Quantised& to) {
    using F = typename T::F;
    const int groups = (width + kGroup - 1) / kGroup;  // of which `to` may have more
    const size_t first = static_cast<size_t>(row) * to.groups;
    F odd = T::zero();
    for (int g = 0; g < groups; g++) {
        F v[2];
        for (int i = 0; i < 2; i++) {
            const int at = g * kGroup + i * kLanes;
            v[i] = at < width ? clip<T>(load_as<T>(x, dtype, at, width - at), range) : T::zero();
            odd = T::fma(v[i], T::zero(), odd);  // stays 0, or becomes NaN
        }
        const float highest = T::highest(T::max(T::abs(v[0]), T::abs(v[1])));
        const float scale = highest / 127.0f;
        const F inverse = T::set(highest > kFaint ? 127.0f / highest : 0.0f);
        int8_t* q = to.q + (first + g) * kGroup;
        const auto a = T::to_i(T::mul(v[0], inverse)), b = T::to_i(T::mul(v[1], inverse));
        T::store_i8(q, a);
        T::store_i8(q + kLanes, b);
        to.scales[first + g] = scale;
        to.sums[first + g] = T::sum_i(T::add_i(a, b));
    }
    if (T::sum(odd) != 0) {
        std::fill_n(to.sums + first, groups, 0);
        to.scales[first] = std::numeric_limits<float>::quiet_NaN();
    }
}

// Where the sums of some blocks go, `(rows, blocks * 16)`: what lies past the matrix's last row is left out.
template <class T>
void write(const Packed& w, const float* sums, int row, int rows, int block, int blocks, const Output& to) {
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < blocks; v++) {
            const int column = (block + v) * kLanes, n = w.out - column;
            put<T>(to, row + r, column, T::load(sums + (r * blocks + v) * kLanes), n);
        }
}

template <class T, Bits B, int R = 1>
void few(const Packed& w, const Quantised& x, int rows, int block, float* sums) {
    if constexpr (R < kFewRows) {
        if (rows > R) return few<T, B, R + 1>(w, x, rows, block, sums);
    }
    few_rows<T, B, R>(w, x, block, sums);
}

template <class T, Bits B, int V = 1>
void many(const Packed& w, const Quantised& x, int row, int rows, int block, int blocks, float* sums) {
    if constexpr (V < kPanel) {
        if (blocks > V) return many<T, B, V + 1>(w, x, row, rows, block, blocks, sums);
    }
    many_rows<T, B, V>(w, x, row, rows, block, sums);
}

template <class T, Bits B>
void product_of(const Packed& w, const Quantised& x, int row, int rows, int block, int blocks, const Output& to,
                float* sums) {
    if (rows > kFewRows) {
        // As wide as the instruction set's registers allow.
        for (int b = 0; b < blocks; b += T::kTileBlocks) {
            const int n = blocks - b < T::kTileBlocks ? blocks - b : T::kTileBlocks;
            many<T, B>(w, x, row, rows, block + b, n, sums);
            write<T>(w, sums, row, rows, block + b, n, to);
        }
        return;
    }
    const Quantised from{x.q + static_cast<size_t>(row) * x.groups * kGroup,
                         x.scales + static_cast<size_t>(row) * x.groups,
                         x.sums + static_cast<size_t>(row) * x.groups, x.groups};
    for (int b = 0; b < blocks; b++) {
        few<T, B>(w, from, rows, block + b, sums);
        write<T>(w, sums, row, rows, block + b, 1, to);
    }
}

template <class T>
void product(const Packed& w, const Quantised& x, int row, int rows, int block, int blocks, const Output& to,
             float* scratch) {
    if (w.bits == Bits::four) {
        product_of<T, Bits::four>(w, x, row, rows, block, blocks, to, scratch);
    } else {
        product_of<T, Bits::eight>(w, x, row, rows, block, blocks, to, scratch);
    }
}

// To the nearest half, ties to even; beyond the largest, infinity.
inline uint16_t to_half(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    const uint32_t sign = bits >> 16 & 0x8000, size = bits & 0x7fffffff;
    if (size >= 0x7f800000) return static_cast<uint16_t>(sign | 0x7c00 | (size > 0x7f800000) << 9);
    if (size >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);
    if (size < 0x38800000) {  // below 2^-14 halves are multiples of 2^-24
        float magnitude;
        std::memcpy(&magnitude, &size, 4);
        return static_cast<uint16_t>(sign | static_cast<uint32_t>(std::nearbyint(magnitude * 16777216.0f)));
    }
    return static_cast<uint16_t>(sign | (size - 0x38000000 + 0xfff + (size >> 13 & 1)) >> 13);
}

template <class T>
float from_half(uint16_t half) {
    uint16_t same[kLanes] = {half};
    alignas(64) float wide[kLanes];
    T::store(wide, T::load_half(same));
    return wide[0];
}

// A group's integers for a scale, and the squared error.
template <class T>
float integers(const typename T::F* x, float scale, typename T::F* q) {
    const auto inverse = T::set(scale == 0 ? 0.0f : 1.0f / scale);
    auto error = T::zero();
    for (int i = 0; i < 2; i++) {
        const auto scaled = T::min(T::max(T::mul(x[i], inverse), T::set(-8)), T::set(7));
        q[i] = T::to_f(T::to_i(scaled));
        const auto off = T::sub(T::mul(q[i], T::set(scale)), x[i]);
        error = T::fma(off, off, error);
    }
    return T::sum(error);
}

template <class T>
void pack_groups(const float* x, int64_t groups, const float* divisors, int count, int8_t* q, uint16_t* scales) {
    for (int64_t g = 0; g < groups; g++, x += kGroup, q += kGroup) {
        const typename T::F v[2] = {T::load(x), T::load(x + kLanes)};
        const float peak = *std::max_element(x, x + kGroup, [](float a, float b) { return std::fabs(a) < std::fabs(b); });
        typename T::F found[2] = {T::zero(), T::zero()}, tried[2];
        float least = std::numeric_limits<float>::infinity();
        scales[g] = 0x7e00;
        const auto keep_better = [&](float scale) {
            const uint16_t half = to_half(scale);
            const float error = integers<T>(v, from_half<T>(half), tried);
            if (error < least) least = error, scales[g] = half, found[0] = tried[0], found[1] = tried[1];
        };
        for (int i = 0; i < count; i++) keep_better(peak / divisors[i]);
        const float squares = T::sum(T::fma(found[0], found[0], T::mul(found[1], found[1])));
        if (squares > 0) keep_better(T::sum(T::fma(v[0], found[0], T::mul(v[1], found[1]))) / squares);
        T::store_i8(q, T::to_i(found[0]));
        T::store_i8(q + kLanes, T::to_i(found[1]));
    }
}

// One row of a table: sixteen int8, or sixteen nibbles of a group's 16 bytes, at a time.
template <class T>
void unpack_row(const uint8_t* weight, const void* scales, Bits bits, int width, int64_t row, float factor, float* to) {
    if (bits == Bits::eight) {
        const auto* q = reinterpret_cast<const int8_t*>(weight) + row * width;
        const auto scale = T::set(static_cast<const float*>(scales)[row] * factor);
        for (int i = 0; i < width; i += kLanes) {
            const int n = std::min(kLanes, width - i);
            int32_t wide[kLanes] = {};
            for (int j = 0; j < n; j++) wide[j] = q[i + j];
            store_part<T>(to + i, T::mul(T::to_f(T::load_i(wide)), scale), n);
        }
        return;
    }
    const int groups = width / kGroup;
    const uint8_t* p = weight + row * (width / 2);
    const auto* halves = static_cast<const uint16_t*>(scales) + row * groups;
    for (int g = 0; g < groups; g++, p += kGroup / 2) {
        uint16_t same[kLanes];
        std::fill(same, same + kLanes, halves[g]);
        const auto scale = T::mul(T::load_half(same), T::set(factor));
        int32_t low[kLanes], high[kLanes];
        for (int j = 0; j < kLanes; j++) low[j] = (p[j] & 15) - 8, high[j] = (p[j] >> 4) - 8;
        T::store(to + g * kGroup, T::mul(T::to_f(T::load_i(low)), scale));
        T::store(to + g * kGroup + kLanes, T::mul(T::to_f(T::load_i(high)), scale));
    }
}

}  // namespace
}  // namespace auricle
