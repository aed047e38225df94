// What an instruction set has to offer: one table of functions for each, filled by kernels_*.cpp, chosen when the
// module is loaded.
#pragma once

#include "layout.hpp"

namespace auricle {

// Where a product goes: rows of floats or bfloat16 numbers, `stride` apart.
struct Output {
    void* data = nullptr;
    Dtype dtype = Dtype::f32;
    size_t stride = 0;
    const float* bias = nullptr;
};

// Keys and values of one layer and request: `(kv_heads, capacity, dim)`, position p in slot p % capacity.
struct Cache {
    void* keys = nullptr;
    void* values = nullptr;
    int64_t capacity = 0;
};

// One key-value head's share of an attention: `group` query heads for each of some new positions.
struct Attend {
    const float* q = nullptr;  // of the first new position; position i is `q_stride` further, its head h `dim` further
    float* out = nullptr;      // likewise, `out_stride` apart
    size_t q_stride = 0, out_stride = 0;
    const void* keys = nullptr;  // of this head, `(capacity, dim)`
    const void* values = nullptr;
    Dtype dtype = Dtype::f32;
    int64_t capacity = 0;
    int64_t first = 0;   // position of the first query
    int queries = 1;     // positions
    int group = 1;       // query heads
    int dim = 0;
    int64_t window = 0;  // a query sees so many positions up to its own; 0 is all of them
    float scale = 1;
};

struct Kernels {
    const char* name;
    // One row of activations to int8.
    void (*quantise)(const void* x, Dtype dtype, int width, int row, const Quantised& to);
    // Rows [row, row + rows) times up to `kPanel` blocks, as `Output`; scratch holds kPanelScratch floats.
    void (*product)(const Packed& w, const Quantised& x, int row, int rows, int block, int blocks, const Output& to,
                    float* scratch);
    // One row of a packed table times `factor`.
    void (*unpack_row)(const uint8_t* weight, const void* scales, Bits bits, int width, int64_t row, float factor,
                       float* to);
    // dst = ((add ? dst : 0) + weight * x / rms(x)) * scale, over `width` numbers; no weight is all ones.
    void (*rms_norm)(const float* x, const float* weight, float* dst, int width, float eps, bool add, float scale);
    void (*gelu_product)(const float* gate, const float* up, float* dst, int count);  // gelu(gate) * up, tanh form
    void (*rotate)(float* x, const float* cos, const float* sin, int dim);            // pairs (i, i + dim / 2)
    void (*convert)(const float* x, void* to, Dtype dtype, int count);
    void (*soft_cap)(float* x, float cap, int64_t count);  // cap * tanh(x / cap)
    // One new position over keys [begin, end): unnormalised output, and after it for each head its maximum and sum.
    void (*attend_one)(const Attend& a, int64_t begin, int64_t end, float* partial, float* scratch);
    // Puts such parts together into `a.out`.
    void (*attend_merge)(const Attend& a, const float* partials, int parts);
    // Many new positions, causally.
    void (*attend_many)(const Attend& a, float* scratch);
};

constexpr int kPanel = 4;        // blocks of a panel of the product
constexpr int kPanelRows = 256;  // rows of one
constexpr size_t kPanelScratch = static_cast<size_t>(kPanelRows) * kPanel * kLanes;
constexpr int kFewRows = 8;       // up to so many, weights are used as they stream by
constexpr int kKeyBlock = 64;     // keys that attention takes at a time
constexpr int kQueryRows = 256;   // query positions times heads of one call of attend_many, at most

inline size_t partial_size(int group, int dim) { return static_cast<size_t>(group) * (round_up(dim, kLanes) + kLanes); }
inline size_t attend_scratch(int dim) {
    const size_t wide = round_up(dim, kLanes);
    return wide * kKeyBlock * 2 + static_cast<size_t>(kQueryRows) * (wide + kKeyBlock + 2);
}

const Kernels* kernels_avx512();
const Kernels* kernels_avx2_vnni();
const Kernels* kernels_avx2();
const Kernels* kernels_neon();
const Kernels* kernels_portable();

// The best that this processor runs; AURICLE_KERNELS names another. Throws std::invalid_argument if it can't run here.
const Kernels& kernels();

}  // namespace auricle
