// Dense bfloat16 weights, as a checkpoint has them, times a few rows of bfloat16 activations, over an instruction set
// `T`. The weights are read once: memory is the limit.
#pragma once

#include "elementwise.inl"

namespace auricle {
namespace {

constexpr int kAhead = 4096;  // numbers of a row, and of those that follow it, that are fetched before their turn

// R rows of activations times one row of weights, each `in` numbers long. Of a row, the sum is the same for every R.
template <class T, int R>
void dense_row(const uint16_t* x, const uint16_t* w, int in, float* sums, int stride) {
    constexpr int step = 2 * kLanes, U = T::kFloatVectors;  // so many sums side by side: none waits for the one before it
    const auto pairs = [](const uint16_t* p) { return T::load_i(reinterpret_cast<const int32_t*>(p)); };
    typename T::F total[R][U];
    for (auto& row : total)
        for (auto& sum : row) sum = T::zero();
    const auto add = [&](int i, int u) {
        T::prefetch(w + i + kAhead);
        const auto ws = pairs(w + i);
        for (int r = 0; r < R; r++) total[r][u] = T::dot_bf16(total[r][u], pairs(x + static_cast<size_t>(r) * in + i), ws);
    };
    int i = 0;
    for (; i + U * step <= in; i += U * step)
        for (int u = 0; u < U; u++) add(i + u * step, u);
    for (int u = 0; i < in; i += step, u++) add(i, u);
    for (int r = 0; r < R; r++) {
        for (int u = 1; u < U; u++) total[r][0] = T::add(total[r][0], total[r][u]);
        sums[r * stride] = T::sum(total[r][0]);
    }
}

template <class T, int R>
void dense_rows(const Dense& d, int row, int first, int count) {
    float sums[R][kDenseOutputs];
    const uint16_t* x = d.x + static_cast<size_t>(row) * d.in;
    for (int k = 0; k < count; k++)
        dense_row<T, R>(x, d.w + static_cast<size_t>(first + k) * d.in, d.in, sums[0] + k, kDenseOutputs);
    for (int r = 0; r < R; r++)
        for (int i = 0; i < count; i += kLanes) {
            const int n = std::min(kLanes, count - i);
            auto y = load_part<T>(sums[r] + i, n);
            if (d.bias) y = T::add(y, load_as<T>(d.bias, Dtype::bf16, first + i, n));
            store_as<T>(d.y, Dtype::bf16, static_cast<size_t>(row + r) * d.out + first + i, y, n);
        }
}

template <class T>
void dense(const Dense& d, int first, int count) {
    constexpr int R = T::kFloatRows;
    int row = 0;
    for (; row + R <= d.rows; row += R) dense_rows<T, R>(d, row, first, count);
    if (d.rows - row >= R / 2) dense_rows<T, R / 2>(d, row, first, count), row += R / 2;
    for (; row < d.rows; row++) dense_rows<T, 1>(d, row, first, count);
}

}  // namespace
}  // namespace auricle
