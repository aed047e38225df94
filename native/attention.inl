// Attention of the query heads that share one key-value head, over an instruction set `T`. Logits, probabilities and
// sums are floats, whatever the cache holds.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "elementwise.inl"

namespace auricle {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Probabilities in place of n logits, given their maximum; returns their sum.
template <class T>
float exponentials(float* logits, int n, float highest) {
    typename T::F total = T::zero();
    for (int i = 0; i < n; i += kLanes) {
        const auto p = exponential<T>(T::sub(load_part<T>(logits + i, n - i), T::set(highest)));
        store_part<T>(logits + i, p, n - i);
        total = T::add(total, load_part<T>(logits + i, n - i));
    }
    return T::sum(total);
}

template <class T, int H>
void logits_of(const Attend& a, const float* q, int64_t begin, int count, float* logits) {
    using F = typename T::F;
    for (int i = 0; i < count; i++) {
        const size_t row = static_cast<size_t>((begin + i) % a.capacity) * a.dim;
        F sum[H];
        for (int h = 0; h < H; h++) sum[h] = T::zero();
        for (int d = 0; d < a.dim; d += kLanes) {
            const int n = a.dim - d;
            const F key = load_as<T>(a.keys, a.dtype, row + d, n);
            for (int h = 0; h < H; h++) sum[h] = T::fma(load_part<T>(q + h * a.dim + d, n), key, sum[h]);
        }
        for (int h = 0; h < H; h++) logits[h * kKeyBlock + i] = T::sum(sum[h]) * a.scale;
    }
}

template <class T, int H>
void weigh_values(const Attend& a, int64_t begin, int count, const float* probabilities, float* out, size_t wide) {
    using F = typename T::F;
    for (int d = 0; d < a.dim; d += kLanes) {
        const int n = a.dim - d;
        F sum[H];
        for (int h = 0; h < H; h++) sum[h] = T::load(out + h * wide + d);
        for (int i = 0; i < count; i++) {
            const size_t row = static_cast<size_t>((begin + i) % a.capacity) * a.dim;
            const F value = load_as<T>(a.values, a.dtype, row + d, n);
            for (int h = 0; h < H; h++) sum[h] = T::fma(T::set(probabilities[h * kKeyBlock + i]), value, sum[h]);
        }
        for (int h = 0; h < H; h++) T::store(out + h * wide + d, sum[h]);
    }
}

// H heads of one position. `partial`: (H, wide) outputs, then for each head its maximum and its sum.
template <class T, int H>
void attend_heads(const Attend& a, const float* q, int64_t begin, int64_t end, float* out, float* highest, float* sums,
                  float* logits) {
    const size_t wide = round_up(a.dim, kLanes);
    std::memset(out, 0, sizeof(float) * H * wide);
    for (int h = 0; h < H; h++) highest[h] = kNever, sums[h] = 0;
    for (int64_t at = begin; at < end; at += kKeyBlock) {
        const int count = static_cast<int>(std::min<int64_t>(kKeyBlock, end - at));
        logits_of<T, H>(a, q, at, count, logits);
        for (int h = 0; h < H; h++) {
            float* row = logits + h * kKeyBlock;
            const float higher = std::max(highest[h], *std::max_element(row, row + count));
            const float shrink = std::exp(highest[h] - higher);
            highest[h] = higher;
            sums[h] = sums[h] * shrink + exponentials<T>(row, count, higher);
            if (shrink != 1.0f && at != begin)
                for (size_t d = 0; d < wide; d += kLanes)
                    T::store(out + h * wide + d, T::mul(T::load(out + h * wide + d), T::set(shrink)));
        }
        weigh_values<T, H>(a, at, count, logits, out, wide);
    }
}

template <class T>
void attend_one(const Attend& a, int64_t begin, int64_t end, float* partial, float* scratch) {
    const size_t wide = round_up(a.dim, kLanes);
    float* highest = partial + a.group * wide;
    float* sums = highest + a.group;
    int h = 0;
    for (; h + 8 <= a.group; h += 8)
        attend_heads<T, 8>(a, a.q + h * a.dim, begin, end, partial + h * wide, highest + h, sums + h, scratch);
    for (; h + 4 <= a.group; h += 4)
        attend_heads<T, 4>(a, a.q + h * a.dim, begin, end, partial + h * wide, highest + h, sums + h, scratch);
    for (; h < a.group; h++)
        attend_heads<T, 1>(a, a.q + h * a.dim, begin, end, partial + h * wide, highest + h, sums + h, scratch);
}

template <class T>
void attend_merge(const Attend& a, const float* partials, int parts) {
    const size_t wide = round_up(a.dim, kLanes), size = partial_size(a.group, a.dim);
    for (int h = 0; h < a.group; h++) {
        float highest = kNever, total = 0;
        for (int p = 0; p < parts; p++) highest = std::max(highest, partials[p * size + a.group * wide + h]);
        for (int p = 0; p < parts; p++) {
            const float* tail = partials + p * size + a.group * wide;
            total += tail[a.group + h] * std::exp(tail[h] - highest);
        }
        for (int d = 0; d < a.dim; d += kLanes) {
            typename T::F sum = T::zero();
            for (int p = 0; p < parts; p++) {
                const float share = std::exp(partials[p * size + a.group * wide + h] - highest) / total;
                sum = T::fma(T::load(partials + p * size + h * wide + d), T::set(share), sum);
            }
            store_part<T>(a.out + static_cast<size_t>(h) * a.dim + d, sum, a.dim - d);
        }
    }
}

// (R rows, depth) times (depth, V * 16), added to `out`; the rows' addresses are given, `b` has `b_stride` a line.
template <class T, int R, int V>
void float_tile(const float* const* rows, int depth, const float* b, size_t b_stride, float* const* out) {
    using F = typename T::F;
    F sum[R][V];
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) sum[r][v] = T::load(out[r] + v * kLanes);
    for (int k = 0; k < depth; k++) {
        F line[V];
        for (int v = 0; v < V; v++) line[v] = T::load(b + k * b_stride + v * kLanes);
        for (int r = 0; r < R; r++) {
            const F x = T::set(rows[r][k]);
            for (int v = 0; v < V; v++) sum[r][v] = T::fma(x, line[v], sum[r][v]);
        }
    }
    for (int r = 0; r < R; r++)
        for (int v = 0; v < V; v++) T::store(out[r] + v * kLanes, sum[r][v]);
}

template <class T, int R>
void float_rows(const float* const* rows, int depth, const float* b, size_t b_stride, float* const* out, size_t width) {
    constexpr int V = T::kFloatVectors;
    float* at[R];
    size_t d = 0;
    for (; d + V * kLanes <= width; d += V * kLanes) {
        for (int r = 0; r < R; r++) at[r] = out[r] + d;
        float_tile<T, R, V>(rows, depth, b + d, b_stride, at);
    }
    for (; d < width; d += kLanes) {
        for (int r = 0; r < R; r++) at[r] = out[r] + d;
        float_tile<T, R, 1>(rows, depth, b + d, b_stride, at);
    }
}

template <class T>
void float_product(const float* const* rows, int count, int depth, const float* b, size_t b_stride, float* const* out,
                   size_t width) {
    constexpr int R = T::kFloatRows;
    int r = 0;
    for (; r + R <= count; r += R) float_rows<T, R>(rows + r, depth, b, b_stride, out + r, width);
    for (; r < count; r++) float_rows<T, 1>(rows + r, depth, b, b_stride, out + r, width);
}

// Keys of a block as `(dim, 64)` and its values as `(64, wide)`, floats both; what is missing is zero.
template <class T>
void unpack_block(const Attend& a, int64_t begin, int count, size_t wide, float* keys, float* values) {
    alignas(64) float row[kLanes];
    for (int i = 0; i < kKeyBlock; i++) {
        if (i >= count) {
            for (int d = 0; d < a.dim; d++) keys[static_cast<size_t>(d) * kKeyBlock + i] = 0;
            std::memset(values + i * wide, 0, sizeof(float) * wide);
            continue;
        }
        const size_t from = static_cast<size_t>((begin + i) % a.capacity) * a.dim;
        for (int d = 0; d < a.dim; d += kLanes) {
            const int n = std::min(kLanes, a.dim - d);
            T::store(row, load_as<T>(a.keys, a.dtype, from + d, n));
            for (int j = 0; j < n; j++) keys[static_cast<size_t>(d + j) * kKeyBlock + i] = row[j];
            T::store(values + i * wide + d, load_as<T>(a.values, a.dtype, from + d, n));
        }
    }
}

// Softmax of one row as more keys come in (Milakov and Gimelshein, arXiv:1805.02867): the logits of a block, of which
// [from, to) may be seen, become probabilities; what was summed before shrinks to the new maximum.
template <class T>
void soften(float* logits, int from, int to, float scale, float& highest, float& total, float* out, size_t wide) {
    if (from >= to) {
        std::memset(logits, 0, sizeof(float) * kKeyBlock);
        return;
    }
    for (int i = 0; i < kKeyBlock; i++) logits[i] = i >= from && i < to ? logits[i] * scale : kNever;
    auto most = T::load(logits);
    for (int i = kLanes; i < kKeyBlock; i += kLanes) most = T::max(most, T::load(logits + i));
    const float higher = std::max(highest, T::highest(most));
    const float shrink = std::exp(highest - higher);
    highest = higher;
    exponentials<T>(logits, kKeyBlock, higher);
    for (int i = 0; i < from; i++) logits[i] = 0;  // `exponential` ends at e^-87, not at 0
    for (int i = to; i < kKeyBlock; i++) logits[i] = 0;
    auto sum = T::load(logits);
    for (int i = kLanes; i < kKeyBlock; i += kLanes) sum = T::add(sum, T::load(logits + i));
    total = total * shrink + T::sum(sum);
    if (shrink != 1.0f)
        for (size_t d = 0; d < wide; d += kLanes) T::store(out + d, T::mul(T::load(out + d), T::set(shrink)));
}

template <class T>
void attend_many(const Attend& a, float* scratch) {
    const size_t wide = round_up(a.dim, kLanes);
    const int rows = a.queries * a.group;
    float* keys = scratch;
    float* values = keys + wide * kKeyBlock;
    float* sums = values + wide * kKeyBlock;
    float* logits = sums + static_cast<size_t>(kQueryRows) * wide;
    float* highest = logits + static_cast<size_t>(kQueryRows) * kKeyBlock;
    float* totals = highest + kQueryRows;
    const float *q[kQueryRows], *p[kQueryRows];
    float *to_logits[kQueryRows], *to_sums[kQueryRows];
    for (int r = 0; r < rows; r++) {
        q[r] = a.q + (r / a.group) * a.q_stride + static_cast<size_t>(r % a.group) * a.dim;
        p[r] = to_logits[r] = logits + r * kKeyBlock;
        to_sums[r] = sums + r * wide;
        highest[r] = kNever, totals[r] = 0;
    }
    std::memset(sums, 0, sizeof(float) * rows * wide);
    const int64_t last = a.first + a.queries;
    for (int64_t at = a.window ? std::max<int64_t>(0, a.first - a.window + 1) : 0; at < last; at += kKeyBlock) {
        const int count = static_cast<int>(std::min<int64_t>(kKeyBlock, last - at));
        unpack_block<T>(a, at, count, wide, keys, values);
        std::memset(logits, 0, sizeof(float) * rows * kKeyBlock);
        float_product<T>(q, rows, a.dim, keys, kKeyBlock, to_logits, kKeyBlock);
        for (int r = 0; r < rows; r++) {
            const int64_t position = a.first + r / a.group;
            const int64_t oldest = a.window ? std::max<int64_t>(0, position - a.window + 1) : 0;
            const int from = static_cast<int>(std::clamp<int64_t>(oldest - at, 0, count));
            const int to = static_cast<int>(std::clamp<int64_t>(position + 1 - at, 0, count));
            soften<T>(to_logits[r], from, to, a.scale, highest[r], totals[r], to_sums[r], wide);
        }
        float_product<T>(p, rows, count, values, wide, to_sums, wide);
    }
    for (int r = 0; r < rows; r++) {
        float* out = a.out + (r / a.group) * a.out_stride + static_cast<size_t>(r % a.group) * a.dim;
        const auto inverse = T::set(1.0f / totals[r]);
        for (int d = 0; d < a.dim; d += kLanes)
            store_part<T>(out + d, T::mul(T::load(to_sums[r] + d), inverse), a.dim - d);
    }
}

}  // namespace
}  // namespace auricle
