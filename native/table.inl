// The table of functions of an instruction set `T`.
#pragma once

#include "attention.inl"
#include "dense.inl"
#include "elementwise.inl"
#include "products.inl"

namespace auricle {
namespace {

template <class T>
constexpr Kernels table(const char* name) {
    return {name,          quantise<T>,   product<T>,     dense<T>,        pack_groups<T>, unpack_row<T>,
            rms_norm<T>,   layer_norm<T>, gelu_product<T>, silu_product<T>, rotate<T>,      convert<T>,
            soft_cap<T>,   highest<T>,    attend<T>,       attend_merge<T>};
}

}  // namespace
}  // namespace auricle
