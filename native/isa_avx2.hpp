// AVX2, with or without its own VNNI: sixteen lanes are two registers.
#pragma once

#include <immintrin.h>

#include "layout.hpp"

namespace auricle {
namespace {

struct Avx2 {
    struct F {
        __m256 a, b;
    };
    struct I {
        __m256i a, b;
    };
    using W = I;  // lanes 0 to 7, and 8 to 15

#ifdef __AVXVNNI__
    static constexpr int kRaised4 = 8, kRaised8 = 128;
#else
    // Pairs of products are summed in 16 bits: 4-bit weights may be unsigned there, 8-bit ones lend the activation
    // their sign instead.
    static constexpr int kRaised4 = 8, kRaised8 = 0;
#endif
    static constexpr int kTileRows = 2, kTileBlocks = 1;
    static constexpr int kFloatRows = 2, kFloatVectors = 2;

    static W load_w(const void* p) {
        const auto* q = static_cast<const __m256i*>(p);
        return {_mm256_loadu_si256(q), _mm256_loadu_si256(q + 1)};
    }
    static void store_w(void* p, W w) {
        auto* q = static_cast<__m256i*>(p);
        _mm256_store_si256(q, w.a);
        _mm256_store_si256(q + 1, w.b);
    }
    static W low4(W w) {
        const __m256i mask = _mm256_set1_epi8(15);
        return {_mm256_and_si256(w.a, mask), _mm256_and_si256(w.b, mask)};
    }
    static W high4(W w) {
        const __m256i mask = _mm256_set1_epi8(15);
        return {_mm256_and_si256(_mm256_srli_epi16(w.a, 4), mask), _mm256_and_si256(_mm256_srli_epi16(w.b, 4), mask)};
    }
    template <Bits B>
    static I dot(I sum, W w, int32_t x) {
        const __m256i xs = _mm256_set1_epi32(x);
        return {dot_half<B>(sum.a, w.a, xs), dot_half<B>(sum.b, w.b, xs)};
    }
#ifdef __AVXVNNI__
    static W prepare8(W w) {
        const __m256i top = _mm256_set1_epi8(-128);
        return {_mm256_xor_si256(w.a, top), _mm256_xor_si256(w.b, top)};
    }
    template <Bits>
    static __m256i dot_half(__m256i sum, __m256i w, __m256i x) {
        return _mm256_dpbusd_avx_epi32(sum, w, x);
    }
#else
    static W prepare8(W w) { return w; }
    template <Bits B>
    static __m256i dot_half(__m256i sum, __m256i w, __m256i x) {
        const __m256i pairs = B == Bits::four ? _mm256_maddubs_epi16(w, x)
                                              : _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
        return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
#endif

    static I load_i(const int32_t* p) { return load_w(p); }
    static I set_i(int32_t v) { return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)}; }
    static I add_i(I x, I y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
    static F to_f(I x) { return {_mm256_cvtepi32_ps(x.a), _mm256_cvtepi32_ps(x.b)}; }
    static I to_i(F x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }

    static F zero() { return set(0); }
    static F set(float v) { return {_mm256_set1_ps(v), _mm256_set1_ps(v)}; }
    static F load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
    static void store(float* p, F x) {
        _mm256_storeu_ps(p, x.a);
        _mm256_storeu_ps(p + 8, x.b);
    }
    static F load_half(const uint16_t* p) {
        const auto* q = reinterpret_cast<const __m128i*>(p);
        return {_mm256_cvtph_ps(_mm_loadu_si128(q)), _mm256_cvtph_ps(_mm_loadu_si128(q + 1))};
    }
    static F load_bf16(const uint16_t* p) {
        const auto* q = reinterpret_cast<const __m128i*>(p);
        return {widen(_mm_loadu_si128(q)), widen(_mm_loadu_si128(q + 1))};
    }
    static __m256 widen(__m128i raw) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(raw), 16));
    }
    // sum + the low halves' products + the high halves', of pairs of bfloat16 numbers
    static F dot_bf16(F sum, I x, I w) { return {dot_half(sum.a, w.a, x.a), dot_half(sum.b, w.b, x.b)}; }
    static __m256 dot_half(__m256 sum, __m256i w, __m256i x) {
        const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000));
        sum = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(w, 16)),
                              _mm256_castsi256_ps(_mm256_slli_epi32(x, 16)), sum);
        return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(w, high)),
                               _mm256_castsi256_ps(_mm256_and_si256(x, high)), sum);
    }
    static void store_bf16(uint16_t* p, F x) {
        const __m256i packed = _mm256_packus_epi32(narrow(x.a), narrow(x.b));  // within halves: 0-3, 8-11, 4-7, 12-15
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xd8));
    }
    static __m256i narrow(__m256 x) {
        const __m256i bits = _mm256_castps_si256(x);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        return _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff))), 16);
    }
    static void store_i8(int8_t* p, I x) {
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(x.a, x.b), 0xd8);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
    }

    static F add(F x, F y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
    static F sub(F x, F y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
    static F mul(F x, F y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
    static F div(F x, F y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
    static F fma(F x, F y, F z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
    static F max(F x, F y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
    static F min(F x, F y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
    static F abs(F x) {
        const __m256 sign = _mm256_set1_ps(-0.0f);
        return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
    }
    static F power_of_two(I n) { return {power(n.a), power(n.b)}; }
    static __m256 power(__m256i n) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
    }
    static float sum(F x) {
        const __m256 both = _mm256_add_ps(x.a, x.b);
        __m128 v = _mm_add_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
        v = _mm_add_ps(v, _mm_movehl_ps(v, v));
        return _mm_cvtss_f32(_mm_add_ss(v, _mm_movehdup_ps(v)));
    }
    static float highest(F x) {
        const __m256 both = _mm256_max_ps(x.a, x.b);
        __m128 v = _mm_max_ps(_mm256_castps256_ps128(both), _mm256_extractf128_ps(both, 1));
        v = _mm_max_ps(v, _mm_movehl_ps(v, v));
        return _mm_cvtss_f32(_mm_max_ss(v, _mm_movehdup_ps(v)));
    }
    static int32_t sum_i(I x) {
        const __m256i both = _mm256_add_epi32(x.a, x.b);
        __m128i v = _mm_add_epi32(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
        v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
        return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1)));
    }
    static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
};

}  // namespace
}  // namespace auricle
