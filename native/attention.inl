// Attention of the query heads that share one key-value head, over an instruction set `T`. Logits, probabilities and
// sums are floats; queries and probabilities meet keys and values in the cache's type, as in the reference.
//
// A cache is made of words of 32 bits, one float or two bfloat16 numbers, laid so that vectors need no rearranging and
// no sums across lanes (P numbers a word; a head's capacity is a multiple of 16):
//   keys    (capacity / 16, dim / P, 16): lanes are positions, a word is P neighbouring dimensions
//   values  (capacity / P, wide): lanes are dimensions, padded to `wide`; a word is P neighbouring positions
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "elementwise.inl"

namespace auricle {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Sixteen words.
template <class T, Dtype D>
auto load_words(const uint32_t* p) {
    if constexpr (D == Dtype::f32) {
        return in_register<T>(T::load(reinterpret_cast<const float*>(p)));
    } else {
        return in_register<T>(T::load_i(reinterpret_cast<const int32_t*>(p)));
    }
}

// sum + a * b, for a word `a` and sixteen words `b`.
template <class T, Dtype D, class Words>
typename T::F multiply_add(typename T::F sum, uint32_t a, Words b) {
    if constexpr (D == Dtype::f32) {
        float x;
        std::memcpy(&x, &a, 4);
        return T::fma(T::set(x), b, sum);
    } else {
        return T::dot_bf16(sum, T::set_i(static_cast<int32_t>(a)), b);
    }
}

// Where the words of sixteen positions from `at` on begin; `at` is a multiple of 16.
inline const uint32_t* keys_at(const Attend& a, int64_t at, size_t words) {
    return a.keys + static_cast<size_t>(at % a.capacity) * words;
}
inline const uint32_t* values_at(const Attend& a, int64_t at, size_t wide, int per_word) {
    return a.values + static_cast<size_t>(at % a.capacity) / per_word * wide;
}

// Logits of R rows over a block of keys.
template <class T, Dtype D, int R>
void logits_tile(const uint32_t* const* q, const uint32_t* const* keys, int words, float* const* logits) {
    constexpr int V = T::kFloatVectors;
    for (int first = 0; first < kKeyBlock / kLanes; first += V) {
        typename T::F sum[R][V];
        for (int r = 0; r < R; r++)
            for (int v = 0; v < V; v++) sum[r][v] = T::zero();
        for (int w = 0; w < words; w++) {
            decltype(load_words<T, D>(nullptr)) line[V];
            for (int v = 0; v < V; v++) line[v] = load_words<T, D>(keys[first + v] + w * kLanes);
            for (int r = 0; r < R; r++)
                for (int v = 0; v < V; v++) sum[r][v] = multiply_add<T, D>(sum[r][v], q[r][w], line[v]);
        }
        for (int r = 0; r < R; r++)
            for (int v = 0; v < V; v++) T::store(logits[r] + (first + v) * kLanes, sum[r][v]);
    }
}

// Adds a block's values, weighed by R rows of probabilities, to columns [column, column + V * 16) of the sums.
template <class T, Dtype D, int R, int V>
void values_tile(const uint32_t* const* p, const uint32_t* const* values, size_t wide, int column,
                 float* const* sums) {
    constexpr int lines = kLanes / (D == Dtype::f32 ? 1 : 2);  // of sixteen positions
    typename T::F sum[R][V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) sum[r][v] = T::load(sums[r] + column + v * kLanes);
    for (int part = 0; part < kKeyBlock / kLanes; part++)
        for (int i = 0; i < lines; i++) {
            decltype(load_words<T, D>(nullptr)) line[V];
            for (int v = 0; v < V; v++) line[v] = load_words<T, D>(values[part] + i * wide + column + v * kLanes);
            for (int r = 0; r < R; r++)
                for (int v = 0; v < V; v++)
                    sum[r][v] = multiply_add<T, D>(sum[r][v], p[r][part * lines + i], line[v]);
        }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) T::store(sums[r] + column + v * kLanes, sum[r][v]);
}

template <class T, Dtype D, int R>
void values_rows(const uint32_t* const* p, const uint32_t* const* values, size_t wide, float* const* sums) {
    constexpr int V = T::kFloatVectors;
    int column = 0;
    for (; column + V * kLanes <= static_cast<int>(wide); column += V * kLanes)
        values_tile<T, D, R, V>(p, values, wide, column, sums);
    for (; column < static_cast<int>(wide); column += kLanes) values_tile<T, D, R, 1>(p, values, wide, column, sums);
}

// Softmax of one row as more keys come in (Milakov and Gimelshein, arXiv:1805.02867): the logits of a block, of which
// [from, to) may be seen, become probabilities; what was summed before shrinks to the new maximum.
template <class T>
void soften(float* logits, int from, int to, float scale, float& highest, float& total, float* sums, size_t wide) {
    using F = typename T::F;
    if (from >= to) {
        std::memset(logits, 0, sizeof(float) * kKeyBlock);
        return;
    }
    for (int i = 0; i < from; i++) logits[i] = kNever;
    for (int i = to; i < kKeyBlock; i++) logits[i] = kNever;
    F most = T::load(logits);
    for (int i = kLanes; i < kKeyBlock; i += kLanes) most = T::max(most, T::load(logits + i));
    const float higher = std::max(highest, T::highest(most) * scale);
    F sum = T::zero();
    for (int i = 0; i < kKeyBlock; i += kLanes)
        T::store(logits + i, exponential<T>(T::fma(T::load(logits + i), T::set(scale), T::set(-higher))));
    for (int i = 0; i < from; i++) logits[i] = 0;  // `exponential` ends at e^-87, not at 0
    for (int i = to; i < kKeyBlock; i++) logits[i] = 0;
    for (int i = 0; i < kKeyBlock; i += kLanes) sum = T::add(sum, T::load(logits + i));
    const float shrink = std::exp(highest - higher);
    highest = higher;
    total = total * shrink + T::sum(sum);
    if (shrink != 1.0f)
        for (size_t d = 0; d < wide; d += kLanes) T::store(sums + d, T::mul(T::load(sums + d), T::set(shrink)));
}

// n floats as the cache's words.
template <class T, Dtype D>
void as_words(const float* x, uint32_t* to, int n) {
    convert<T>(x, to, D, n);
}

template <class T, Dtype D>
void attend_in(const Attend& a, int64_t begin, int64_t end, float* part, uint32_t* scratch) {
    constexpr int P = D == Dtype::f32 ? 1 : 2, R = T::kFloatRows, blocks = kKeyBlock / kLanes;
    const int rows = a.queries * a.group, words = a.dim / P;
    const size_t wide = round_up(a.dim, kLanes);
    float* highest = part + rows * wide;
    float* totals = highest + rows;
    uint32_t* queries = scratch;
    uint32_t* probabilities = queries + static_cast<size_t>(rows) * words;
    auto* scores = reinterpret_cast<float*>(probabilities + static_cast<size_t>(rows) * kKeyBlock / P);
    const uint32_t *q[kQueryRows], *p[kQueryRows];
    float *logits[kQueryRows], *sums[kQueryRows];
    for (int r = 0; r < rows; r++) {
        as_words<T, D>(a.q + (r / a.group) * a.q_stride + static_cast<size_t>(r % a.group) * a.dim,
                       queries + r * words, a.dim);
        q[r] = queries + r * words, p[r] = probabilities + r * (kKeyBlock / P);
        logits[r] = scores + r * kKeyBlock, sums[r] = part + r * wide;
        highest[r] = kNever, totals[r] = 0;
    }
    std::memset(part, 0, sizeof(float) * rows * wide);
    for (int64_t at = begin / kLanes * kLanes; at < end; at += kKeyBlock) {
        const uint32_t *keys[blocks], *values[blocks];
        for (int i = 0; i < blocks; i++) {
            keys[i] = keys_at(a, at + i * kLanes, words);
            values[i] = values_at(a, at + i * kLanes, wide, P);
        }
        int r = 0;
        for (; r + R <= rows; r += R) logits_tile<T, D, R>(q + r, keys, words, logits + r);
        for (; r < rows; r++) logits_tile<T, D, 1>(q + r, keys, words, logits + r);
        for (r = 0; r < rows; r++) {
            const int64_t position = a.first + r / a.group;
            const int64_t oldest = std::max(begin, a.window ? position - a.window + 1 : 0);
            const int from = static_cast<int>(std::clamp<int64_t>(oldest - at, 0, kKeyBlock));
            const int to = static_cast<int>(std::clamp<int64_t>(std::min(position + 1, end) - at, 0, kKeyBlock));
            soften<T>(logits[r], from, to, a.scale, highest[r], totals[r], sums[r], wide);
            as_words<T, D>(logits[r], probabilities + r * (kKeyBlock / P), kKeyBlock);
        }
        r = 0;
        for (; r + R <= rows; r += R) values_rows<T, D, R>(p + r, values, wide, sums + r);
        for (; r < rows; r++) values_rows<T, D, 1>(p + r, values, wide, sums + r);
    }
}

template <class T>
void attend(const Attend& a, int64_t begin, int64_t end, float* part, uint32_t* scratch) {
    if (a.dtype == Dtype::f32) return attend_in<T, Dtype::f32>(a, begin, end, part, scratch);
    attend_in<T, Dtype::bf16>(a, begin, end, part, scratch);
}

template <class T>
void attend_merge(const Attend& a, const float* parts, int count) {
    const int rows = a.queries * a.group;
    const size_t wide = round_up(a.dim, kLanes), size = part_size(rows, a.dim);
    for (int r = 0; r < rows; r++) {
        const float* highest = parts + rows * wide + r;  // of each part, `size` apart; its total is `rows` further
        float most = kNever, total = 0;
        for (int i = 0; i < count; i++) most = std::max(most, highest[i * size]);
        for (int i = 0; i < count; i++) total += highest[i * size + rows] * std::exp(highest[i * size] - most);
        float* out = a.out + (r / a.group) * a.out_stride + static_cast<size_t>(r % a.group) * a.dim;
        for (int i = 0; i < count; i++) {
            const auto share = T::set(std::exp(highest[i * size] - most) / total);
            const float* sums = parts + i * size + r * wide;
            for (int d = 0; d < a.dim; d += kLanes) {
                const auto before = i ? load_part<T>(out + d, a.dim - d) : T::zero();
                store_part<T>(out + d, T::fma(T::load(sums + d), share, before), a.dim - d);
            }
        }
    }
}

}  // namespace
}  // namespace auricle
