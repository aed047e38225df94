// NEON with dot products (armv8.2 and later, every Apple processor): sixteen lanes are four registers.
#pragma once

#include <arm_neon.h>

#include "layout.hpp"

namespace auricle {
namespace {

struct Neon {
    struct F {
        float32x4_t a, b, c, d;
    };
    struct I {
        int32x4_t a, b, c, d;
    };
    struct W {
        int8x16_t a, b, c, d;  // four weights for each of four rows
    };

    // Products are signed; 4-bit weights stay raised, which is taken back once a group, not for each of them.
    static constexpr int kRaised4 = 8, kRaised8 = 0;
    static constexpr int kTileRows = 2, kTileBlocks = 2;  // 16 sums of integers, 8 weights, 2 activations
    static constexpr int kFloatRows = 4, kFloatVectors = 1;

    static W load_w(const void* p) {
        const auto* q = static_cast<const int8_t*>(p);
        return {vld1q_s8(q), vld1q_s8(q + 16), vld1q_s8(q + 32), vld1q_s8(q + 48)};
    }
    static void store_w(void* p, W w) {
        auto* q = static_cast<int8_t*>(p);
        vst1q_s8(q, w.a);
        vst1q_s8(q + 16, w.b);
        vst1q_s8(q + 32, w.c);
        vst1q_s8(q + 48, w.d);
    }
    static W low4(W w) {
        return each<W>([](auto v) { return vandq_s8(v, vdupq_n_s8(15)); }, w);
    }
    static W high4(W w) {
        return each<W>([](auto v) { return vreinterpretq_s8_u8(vshrq_n_u8(vreinterpretq_u8_s8(v), 4)); }, w);
    }
    static W prepare8(W w) { return w; }
    template <Bits>
    static I dot(I sum, W w, int32_t x) {
        const int8x8_t xs = vcreate_s8(static_cast<uint32_t>(x));
        return each<I>([=](auto s, auto v) { return vdotq_lane_s32(s, v, xs, 0); }, sum, w);
    }

    static I load_i(const int32_t* p) { return {vld1q_s32(p), vld1q_s32(p + 4), vld1q_s32(p + 8), vld1q_s32(p + 12)}; }
    static I set_i(int32_t v) {
        const int32x4_t x = vdupq_n_s32(v);
        return {x, x, x, x};
    }
    static I add_i(I x, I y) { return each<I>([](auto v, auto w) { return vaddq_s32(v, w); }, x, y); }
    static F to_f(I x) { return each<F>([](auto v) { return vcvtq_f32_s32(v); }, x); }
    static I to_i(F x) { return each<I>([](auto v) { return vcvtnq_s32_f32(v); }, x); }  // nearest, ties to even

    static F zero() { return set(0); }
    static F set(float v) {
        const float32x4_t x = vdupq_n_f32(v);
        return {x, x, x, x};
    }
    static F load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}; }
    static void store(float* p, F x) {
        vst1q_f32(p, x.a);
        vst1q_f32(p + 4, x.b);
        vst1q_f32(p + 8, x.c);
        vst1q_f32(p + 12, x.d);
    }
    static F load_half(const uint16_t* p) { return {half(p), half(p + 4), half(p + 8), half(p + 12)}; }
    static float32x4_t half(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
    static F load_bf16(const uint16_t* p) { return {widen(p), widen(p + 4), widen(p + 8), widen(p + 12)}; }
    static float32x4_t widen(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
    // sum + the low halves' products + the high halves', of pairs of bfloat16 numbers
    static F dot_bf16(F sum, I x, I w) {
        return each<F>(
            [](float32x4_t s, int32x4_t u, int32x4_t v) {
                s = vfmaq_f32(s, vreinterpretq_f32_s32(vshlq_n_s32(v, 16)), vreinterpretq_f32_s32(vshlq_n_s32(u, 16)));
                return vfmaq_f32(s, high_half(v), high_half(u));
            },
            sum, x, w);
    }
    static float32x4_t high_half(int32x4_t v) {
        return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_s32(v), vdupq_n_u32(0xffff0000)));
    }
    static void store_bf16(uint16_t* p, F x) {
        vst1_u16(p, narrow(x.a));
        vst1_u16(p + 4, narrow(x.b));
        vst1_u16(p + 8, narrow(x.c));
        vst1_u16(p + 12, narrow(x.d));
    }
    static uint16x4_t narrow(float32x4_t x) {
        const uint32x4_t bits = vreinterpretq_u32_f32(x);
        const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        return vshrn_n_u32(vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff))), 16);
    }
    static void store_i8(int8_t* p, I x) {
        const int16x8_t first = vcombine_s16(vmovn_s32(x.a), vmovn_s32(x.b));
        const int16x8_t second = vcombine_s16(vmovn_s32(x.c), vmovn_s32(x.d));
        vst1q_s8(p, vcombine_s8(vmovn_s16(first), vmovn_s16(second)));
    }

    static F add(F x, F y) { return each<F>([](auto v, auto w) { return vaddq_f32(v, w); }, x, y); }
    static F sub(F x, F y) { return each<F>([](auto v, auto w) { return vsubq_f32(v, w); }, x, y); }
    static F mul(F x, F y) { return each<F>([](auto v, auto w) { return vmulq_f32(v, w); }, x, y); }
    static F div(F x, F y) { return each<F>([](auto v, auto w) { return vdivq_f32(v, w); }, x, y); }
    static F fma(F x, F y, F z) { return each<F>([](auto u, auto v, auto w) { return vfmaq_f32(u, v, w); }, z, x, y); }
    static F max(F x, F y) { return each<F>([](auto v, auto w) { return vmaxq_f32(v, w); }, x, y); }  // not a number where either is none
    static F min(F x, F y) { return each<F>([](auto v, auto w) { return vminq_f32(v, w); }, x, y); }
    static F abs(F x) { return each<F>([](auto v) { return vabsq_f32(v); }, x); }
    static F power_of_two(I n) {
        const int32x4_t bias = vdupq_n_s32(127);
        return each<F>([=](auto v) { return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(v, bias), 23)); }, n);
    }
    static float sum(F x) { return vaddvq_f32(vaddq_f32(vaddq_f32(x.a, x.b), vaddq_f32(x.c, x.d))); }
    static float highest(F x) { return vmaxvq_f32(vmaxq_f32(vmaxq_f32(x.a, x.b), vmaxq_f32(x.c, x.d))); }
    static int32_t sum_i(I x) { return vaddvq_s32(vaddq_s32(vaddq_s32(x.a, x.b), vaddq_s32(x.c, x.d))); }
    static void prefetch(const void* p) { __builtin_prefetch(p); }

  private:
    // What `op` makes of each of the four registers.
    template <class To, class Op, class... From>
    static To each(Op op, From... x) {
        return {op(x.a...), op(x.b...), op(x.c...), op(x.d...)};
    }
};

}  // namespace
}  // namespace auricle
