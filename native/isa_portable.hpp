// Plain C++: what every processor runs, and what a newcomer should read first.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>

#include "layout.hpp"

namespace auricle {
namespace {

struct Portable {
    struct F {
        float v[kLanes];
    };
    struct I {
        int32_t v[kLanes];
    };
    struct W {
        int8_t v[kWord];
    };

    static constexpr int kRaised4 = 0, kRaised8 = 0;  // weights are signed here
    static constexpr int kTileRows = 2, kTileBlocks = 1;
    static constexpr int kFloatRows = 2, kFloatVectors = 1;

    template <class Make>
    static F each(Make make) {
        F out;
        for (int i = 0; i < kLanes; i++) out.v[i] = make(i);
        return out;
    }
    template <class Make>
    static I each_i(Make make) {
        I out;
        for (int i = 0; i < kLanes; i++) out.v[i] = make(i);
        return out;
    }

    static W load_w(const void* p) {
        W w;
        std::memcpy(w.v, p, kWord);
        return w;
    }
    static void store_w(void* p, W w) { std::memcpy(p, w.v, kWord); }
    static W low4(W w) {
        for (auto& b : w.v) b = static_cast<int8_t>((b & 15) - 8);
        return w;
    }
    static W high4(W w) {
        for (auto& b : w.v) b = static_cast<int8_t>((static_cast<uint8_t>(b) >> 4) - 8);
        return w;
    }
    static W prepare8(W w) { return w; }
    template <Bits>
    static I dot(I sum, W w, int32_t x) {
        int8_t q[4];
        std::memcpy(q, &x, 4);
        for (int i = 0; i < kLanes; i++)
            for (int b = 0; b < 4; b++) sum.v[i] += w.v[4 * i + b] * q[b];
        return sum;
    }

    static I load_i(const int32_t* p) {
        return each_i([=](int i) { return p[i]; });
    }
    static I set_i(int32_t v) {
        return each_i([=](int) { return v; });
    }
    static I add_i(I a, I b) {
        return each_i([&](int i) { return a.v[i] + b.v[i]; });
    }
    static F to_f(I a) {
        return each([&](int i) { return static_cast<float>(a.v[i]); });
    }
    static I to_i(F a) {
        return each_i([&](int i) { return static_cast<int32_t>(std::lrint(a.v[i])); });
    }

    static F zero() { return set(0); }
    static F set(float v) {
        return each([=](int) { return v; });
    }
    static F load(const float* p) {
        return each([=](int i) { return p[i]; });
    }
    static void store(float* p, F a) { std::memcpy(p, a.v, sizeof a.v); }
    static F load_half(const uint16_t* p) {
        return each([=](int i) { return half(p[i]); });
    }
    static float half(uint16_t h) {
        const int exponent = h >> 10 & 31, mantissa = h & 1023;
        const float value = exponent == 0    ? std::ldexp(static_cast<float>(mantissa), -24)
                            : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                             : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
        return h >> 15 ? -value : value;
    }
    static F load_bf16(const uint16_t* p) {
        return each([=](int i) { return widen(static_cast<uint32_t>(p[i]) << 16); });
    }
    // sum + the low halves' products + the high halves', of pairs of bfloat16 numbers
    static F dot_bf16(F sum, I x, I w) {
        return each([&](int i) {
            const auto a = static_cast<uint32_t>(x.v[i]), b = static_cast<uint32_t>(w.v[i]);
            return sum.v[i] + widen(a << 16) * widen(b << 16) + widen(a & 0xffff0000u) * widen(b & 0xffff0000u);
        });
    }
    static float widen(uint32_t bits) {
        float v;
        std::memcpy(&v, &bits, 4);
        return v;
    }
    static void store_bf16(uint16_t* p, F a) {
        for (int i = 0; i < kLanes; i++) {
            uint32_t bits;
            std::memcpy(&bits, &a.v[i], 4);
            p[i] = static_cast<uint16_t>((bits + (bits >> 16 & 1) + 0x7fff) >> 16);
        }
    }
    static void store_i8(int8_t* p, I a) {
        for (int i = 0; i < kLanes; i++) p[i] = static_cast<int8_t>(a.v[i]);
    }

    static F add(F a, F b) {
        return each([&](int i) { return a.v[i] + b.v[i]; });
    }
    static F sub(F a, F b) {
        return each([&](int i) { return a.v[i] - b.v[i]; });
    }
    static F mul(F a, F b) {
        return each([&](int i) { return a.v[i] * b.v[i]; });
    }
    static F div(F a, F b) {
        return each([&](int i) { return a.v[i] / b.v[i]; });
    }
    static F fma(F a, F b, F c) {
        return each([&](int i) { return a.v[i] * b.v[i] + c.v[i]; });
    }
    // The second where one of the two is not a number.
    static F max(F a, F b) {
        return each([&](int i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
    }
    static F min(F a, F b) {
        return each([&](int i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
    }
    static F abs(F a) {
        return each([&](int i) { return std::fabs(a.v[i]); });
    }
    static F power_of_two(I n) {
        return each([&](int i) { return std::ldexp(1.0f, n.v[i]); });
    }
    static float sum(F a) {
        float total = 0;
        for (const float v : a.v) total += v;
        return total;
    }
    static float highest(F a) { return *std::max_element(a.v, a.v + kLanes); }
    static int32_t sum_i(I a) {
        int32_t total = 0;
        for (const int32_t v : a.v) total += v;
        return total;
    }
    static void prefetch(const void*) {}
};

}  // namespace
}  // namespace auricle
