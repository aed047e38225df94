// Norms, gates, rotary embedding and soft caps of single rows, over an instruction set `T`.
#pragma once

#include <cmath>
#include <cstring>

#include "kernels.hpp"

namespace auricle {
namespace {

// The first n of sixteen floats, the others zero; and storing as many.
template <class T>
typename T::F load_part(const float* p, int n) {
    if (n >= kLanes) return T::load(p);
    alignas(64) float padded[kLanes] = {};
    std::memcpy(padded, p, sizeof(float) * n);
    return T::load(padded);
}

template <class T>
void store_part(float* p, typename T::F a, int n) {
    if (n >= kLanes) return T::store(p, a);
    alignas(64) float padded[kLanes];
    T::store(padded, a);
    std::memcpy(p, padded, sizeof(float) * n);
}

template <class T>
typename T::F load_as(const void* p, Dtype dtype, size_t at, int n) {
    if (dtype == Dtype::f32) return load_part<T>(static_cast<const float*>(p) + at, n);
    const auto* from = static_cast<const uint16_t*>(p) + at;
    if (n >= kLanes) return T::load_bf16(from);
    alignas(64) uint16_t padded[kLanes] = {};
    std::memcpy(padded, from, sizeof(uint16_t) * n);
    return T::load_bf16(padded);
}

template <class T>
void store_as(void* p, Dtype dtype, size_t at, typename T::F a, int n) {
    if (dtype == Dtype::f32) return store_part<T>(static_cast<float*>(p) + at, a, n);
    auto* to = static_cast<uint16_t*>(p) + at;
    if (n >= kLanes) return T::store_bf16(to, a);
    alignas(64) uint16_t padded[kLanes];
    T::store_bf16(padded, a);
    std::memcpy(to, padded, sizeof(uint16_t) * n);
}

// Compilers like to load a vector again for each product that it takes part in, and then loads are what limits.
template <class T, class Vector>
Vector in_register(Vector a) {
    if constexpr (requires { T::keep(a); }) T::keep(a);
    return a;
}

// What is not a number stays so: `max` and `min` give their second argument then.
template <class T>
typename T::F clip(typename T::F a, const Range& range) {
    return T::min(T::set(range.high), T::max(T::set(range.low), a));
}

// Up to sixteen outputs of a product, from (row, column) on, to their place.
template <class T>
void put(const Output& to, int row, int column, typename T::F y, int n) {
    if (to.bias) y = T::add(y, load_part<T>(to.bias + column, n));
    const size_t at = (row - to.row) * to.stride + column - to.column;
    y = clip<T>(y, to.range);
    if (to.add) y = T::add(y, load_as<T>(to.data, to.dtype, at, n));
    store_as<T>(to.data, to.dtype, at, y, n);
}

// e^x within 2e-7 of its value: 2^n times the Taylor polynomial of degree 6 on |r| <= ln 2 / 2.
template <class T>
typename T::F exponential(typename T::F x) {
    using F = typename T::F;
    x = clip<T>(x, {-87.0f, 88.0f});
    const auto n = T::to_i(T::mul(x, T::set(1.44269504f)));
    const F whole = T::to_f(n);
    F r = T::fma(whole, T::set(-0.693359375f), x);  // ln 2 in two parts, the first exact in few bits
    r = T::fma(whole, T::set(2.12194440e-4f), r);
    F y = T::set(1.0f / 720);
    for (const float c : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) y = T::fma(y, r, T::set(c));
    return T::mul(y, T::power_of_two(n));
}

template <class T>
void rms_norm(const void* x, Dtype dtype, const float* weight, void* to, int width, float eps, bool add, float scale) {
    using F = typename T::F;
    F squares = T::zero();
    for (int i = 0; i < width; i += kLanes) {
        const F v = load_as<T>(x, dtype, i, width - i);
        squares = T::fma(v, v, squares);
    }
    const F factor = T::set(1.0f / std::sqrt(T::sum(squares) / static_cast<float>(width) + eps));
    for (int i = 0; i < width; i += kLanes) {
        const int n = width - i;
        F v = T::mul(load_as<T>(x, dtype, i, n), factor);
        if (weight) v = T::mul(v, load_part<T>(weight + i, n));
        if (add) v = T::add(v, load_as<T>(to, dtype, i, n));
        store_as<T>(to, dtype, i, T::mul(v, T::set(scale)), n);
    }
}

template <class T>
void layer_norm(const float* x, const float* weight, const float* bias, float* to, int width, float eps) {
    using F = typename T::F;
    F sum = T::zero(), squares = T::zero();
    for (int i = 0; i < width; i += kLanes) sum = T::add(sum, load_part<T>(x + i, width - i));
    const F mean = T::set(T::sum(sum) / static_cast<float>(width));
    for (int i = 0; i < width; i += kLanes) {
        alignas(64) float apart[kLanes] = {};  // what lies past the width is no deviation
        store_part<T>(apart, T::sub(load_part<T>(x + i, width - i), mean), width - i);
        const F v = T::load(apart);
        squares = T::fma(v, v, squares);
    }
    const F factor = T::set(1.0f / std::sqrt(T::sum(squares) / static_cast<float>(width) + eps));
    for (int i = 0; i < width; i += kLanes) {
        const int n = width - i;
        const F v = T::mul(T::sub(load_part<T>(x + i, n), mean), factor);
        store_part<T>(to + i, T::fma(v, load_part<T>(weight + i, n), load_part<T>(bias + i, n)), n);
    }
}

template <class T>
void gelu_product(const float* gate, const float* up, float* dst, int count) {
    using F = typename T::F;
    const F one = T::set(1.0f);
    for (int i = 0; i < count; i += kLanes) {
        const int n = count - i;
        const F x = load_part<T>(gate + i, n);
        // 0.5 (1 + tanh u) = 1 / (1 + e^(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
        const F cube = T::mul(T::mul(x, x), x);
        const F u = T::mul(T::fma(cube, T::set(0.044715f), x), T::set(-1.5957691216f));
        const F gelu = T::div(x, T::add(one, exponential<T>(u)));
        store_part<T>(dst + i, T::mul(gelu, load_part<T>(up + i, n)), n);
    }
}

template <class T>
void silu_product(const float* gate, const float* up, float* dst, int count) {
    using F = typename T::F;
    const F one = T::set(1.0f);
    for (int i = 0; i < count; i += kLanes) {
        const int n = count - i;
        const F x = load_part<T>(gate + i, n);
        const F silu = T::div(x, T::add(one, exponential<T>(T::mul(x, T::set(-1.0f)))));
        store_part<T>(dst + i, T::mul(silu, load_part<T>(up + i, n)), n);
    }
}

template <class T>
void rotate(float* x, const float* cos, const float* sin, int dim) {
    const int half = dim / 2;
    for (int i = 0; i < half; i += kLanes) {
        const int n = half - i;
        const auto first = load_part<T>(x + i, n), second = load_part<T>(x + half + i, n);
        const auto c = load_part<T>(cos + i, n), s = load_part<T>(sin + i, n);
        store_part<T>(x + i, T::sub(T::mul(first, c), T::mul(second, s)), n);
        store_part<T>(x + half + i, T::fma(second, c, T::mul(first, s)), n);
    }
}

template <class T>
void convert(const float* x, void* to, Dtype dtype, int count) {
    for (int i = 0; i < count; i += kLanes) store_as<T>(to, dtype, i, load_part<T>(x + i, count - i), count - i);
}

template <class T>
float highest(const float* x, int count) {
    auto most = T::load(x);
    for (int i = kLanes; i < count; i += kLanes) most = T::max(most, T::load(x + i));
    return T::highest(most);
}

template <class T>
void soft_cap(float* x, float cap, int64_t count) {
    for (int64_t i = 0; i < count; i += kLanes) {
        const int n = count - i < kLanes ? static_cast<int>(count - i) : kLanes;
        // tanh y = 1 - 2 / (e^(2y) + 1)
        const auto e = exponential<T>(T::mul(load_part<T>(x + i, n), T::set(2.0f / cap)));
        const auto t = T::sub(T::set(1.0f), T::div(T::set(2.0f), T::add(e, T::set(1.0f))));
        store_part<T>(x + i, T::mul(t, T::set(cap)), n);
    }
}

}  // namespace
}  // namespace auricle
