// AVX-512 with VNNI, with or without BF16: sixteen lanes are one register.
#pragma once

#include <immintrin.h>

#include "layout.hpp"

namespace auricle {
namespace {

struct Avx512 {
    using F = __m512;   // sixteen floats
    using I = __m512i;  // sixteen 32-bit integers
    using W = __m512i;  // four 8-bit weights for each of sixteen rows

    // The dot product takes unsigned weights: raised by these, int4 as it is stored and int8 by `prepare8`. The kernel
    // takes that back.
    static constexpr int kRaised4 = 8, kRaised8 = 128;
    // Rows and blocks of a tile of the matrix product: 12 sums of integers, 12 of floats, 4 weights, 1 activation.
    static constexpr int kTileRows = 3, kTileBlocks = 4;
    // Rows and vectors of a tile of the float product.
    static constexpr int kFloatRows = 4, kFloatVectors = 4;

    static W load_w(const void* p) { return _mm512_loadu_si512(p); }
    static void store_w(void* p, W w) { _mm512_store_si512(p, w); }
    static W low4(W w) { return _mm512_and_si512(w, _mm512_set1_epi8(15)); }
    static W high4(W w) { return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15)); }
    static W prepare8(W w) { return _mm512_xor_si512(w, _mm512_set1_epi8(-128)); }
    template <Bits>
    static I dot(I sum, W w, int32_t x) { return _mm512_dpbusd_epi32(sum, w, _mm512_set1_epi32(x)); }

    static I load_i(const int32_t* p) { return _mm512_loadu_si512(p); }
    static I set_i(int32_t v) { return _mm512_set1_epi32(v); }
    static I add_i(I a, I b) { return _mm512_add_epi32(a, b); }
    static F to_f(I a) { return _mm512_cvtepi32_ps(a); }
    static I to_i(F a) { return _mm512_cvtps_epi32(a); }  // nearest, ties to even

    static F zero() { return _mm512_setzero_ps(); }
    static F set(float v) { return _mm512_set1_ps(v); }
    static F load(const float* p) { return _mm512_loadu_ps(p); }
    static void store(float* p, F a) { _mm512_storeu_ps(p, a); }
    static F load_half(const uint16_t* p) {
        return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static F load_bf16(const uint16_t* p) {
        const __m256i raw = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(raw), 16));
    }
    // sum + the low halves' products + the high halves', of pairs of bfloat16 numbers
    static F dot_bf16(F sum, I x, I w) {
#ifdef __AVX512BF16__
        return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(x));
#else
        const I high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
        sum = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(w, 16)),
                              _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)), sum);
        return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(w, high)),
                               _mm512_castsi512_ps(_mm512_and_si512(x, high)), sum);
#endif
    }
    static void store_bf16(uint16_t* p, F a) {
        const I bits = _mm512_castps_si512(a);
        const I odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const I rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
    }
    static void store_i8(int8_t* p, I a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a)); }

    static F add(F a, F b) { return _mm512_add_ps(a, b); }
    static F sub(F a, F b) { return _mm512_sub_ps(a, b); }
    static F mul(F a, F b) { return _mm512_mul_ps(a, b); }
    static F div(F a, F b) { return _mm512_div_ps(a, b); }
    static F fma(F a, F b, F c) { return _mm512_fmadd_ps(a, b, c); }
    static F max(F a, F b) { return _mm512_max_ps(a, b); }
    static F min(F a, F b) { return _mm512_min_ps(a, b); }
    static F abs(F a) { return _mm512_abs_ps(a); }
    static F power_of_two(I n) {  // 2^n for n in [-126, 127]
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(n, _mm512_set1_epi32(127)), 23));
    }
    static float sum(F a) { return _mm512_reduce_add_ps(a); }
    static float highest(F a) { return _mm512_reduce_max_ps(a); }
    static int32_t sum_i(I a) { return _mm512_reduce_add_epi32(a); }
    template <class Vector>
    static void keep(Vector& a) {
        asm("" : "+v"(a));
    }
    static void prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T0); }
};

}  // namespace
}  // namespace auricle
