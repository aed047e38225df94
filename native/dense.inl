// Dense weights, as a checkpoint has them, times a few rows of activations of the same type, over an instruction set
// `T`. The weights come from memory once, which is the limit: groups of rows go over what is still in a core's cache.
#pragma once

#include "elementwise.inl"

namespace auricle {
namespace {

// Weights are fetched so far ahead of their turn; past a row's end these are the next row's.
constexpr int kAheadBytes = 8192;

// Sixteen sums of products: of one number for each lane, or of two.
template <class T, Dtype D>
typename T::F add_products(typename T::F sum, const void* x, const void* w) {
    if constexpr (D == Dtype::f32) {
        return T::fma(T::load(static_cast<const float*>(x)), T::load(static_cast<const float*>(w)), sum);
    } else {
        return T::dot_bf16(sum, T::load_i(static_cast<const int32_t*>(x)), T::load_i(static_cast<const int32_t*>(w)));
    }
}

// R rows of activations, `x_bytes` apart, times one row of weights. Of a row, the sum is the same for every R.
template <class T, Dtype D, int R>
void dense_row(const uint8_t* x, size_t x_bytes, const uint8_t* w, size_t bytes, float* sums, int stride) {
    constexpr size_t step = sizeof(float) * kLanes;
    constexpr int U = T::kFloatVectors;  // so many sums side by side: none waits for the one before it
    typename T::F total[R][U];
    for (auto& row : total)
        for (auto& sum : row) sum = T::zero();
    const auto add = [&](size_t at, int u) {
        T::prefetch(w + at + kAheadBytes);
        for (int r = 0; r < R; r++) total[r][u] = add_products<T, D>(total[r][u], x + r * x_bytes + at, w + at);
    };
    size_t at = 0;
    for (; at + U * step <= bytes; at += U * step)
        for (int u = 0; u < U; u++) add(at + u * step, u);
    for (int u = 0; at < bytes; at += step, u++) add(at, u);
    for (int r = 0; r < R; r++) {
        for (int u = 1; u < U; u++) total[r][0] = T::add(total[r][0], total[r][u]);
        sums[r * stride] = T::sum(total[r][0]);
    }
}

template <class T, Dtype D, int R>
void dense_rows(const DenseMatrix& w, const DenseRows& x, const Output& to, int row, int first, int count) {
    float sums[R][kDenseOutputs];
    const size_t bytes = w.in * number_bytes(D), x_bytes = x.stride * number_bytes(D);
    const auto* rows = static_cast<const uint8_t*>(x.data) + row * x_bytes;
    const auto* weights = static_cast<const uint8_t*>(w.weight) + first * bytes;
    for (int k = 0; k < count; k++)
        dense_row<T, D, R>(rows, x_bytes, weights + k * bytes, bytes, sums[0] + k, kDenseOutputs);
    for (int r = 0; r < R; r++)
        for (int i = 0; i < count; i += kLanes) {
            const int n = std::min(kLanes, count - i);
            put<T>(to, row + r, first + i, load_part<T>(sums[r] + i, n), n);
        }
}

template <class T, Dtype D>
void dense_in(const DenseMatrix& w, const DenseRows& x, const Output& to, int first, int count) {
    constexpr int R = T::kFloatRows;
    int row = 0;
    for (; row + R <= x.rows; row += R) dense_rows<T, D, R>(w, x, to, row, first, count);
    if (x.rows - row >= R / 2) dense_rows<T, D, R / 2>(w, x, to, row, first, count), row += R / 2;
    for (; row < x.rows; row++) dense_rows<T, D, 1>(w, x, to, row, first, count);
}

template <class T>
void dense(const DenseMatrix& w, const DenseRows& x, const Output& to, int first, int count) {
    if (w.dtype == Dtype::f32) return dense_in<T, Dtype::f32>(w, x, to, first, count);
    dense_in<T, Dtype::bf16>(w, x, to, first, count);
}

}  // namespace
}  // namespace auricle
