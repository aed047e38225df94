// What an instruction set has to offer: one table of functions for each, filled by kernels_*.cpp, chosen when the
// module is loaded.
#pragma once

#include <limits>
#include <vector>

#include "layout.hpp"

namespace auricle {

// What numbers are clipped to.
struct Range {
    float low = -std::numeric_limits<float>::infinity();
    float high = std::numeric_limits<float>::infinity();
};

// Where a product goes: rows of floats or bfloat16 numbers, `stride` apart; the first number is that of (row, column).
struct Output {
    void* data = nullptr;
    Dtype dtype = Dtype::f32;
    size_t stride = 0;
    const float* bias = nullptr;
    Range range = {};
    int row = 0, column = 0;
    bool add = false;  // to what is there
};

// Keys and values of one layer and request, of every key-value head, in the words that attention.inl describes.
// Position p is in slot p % capacity.
struct Cache {
    uint32_t* keys = nullptr;
    uint32_t* values = nullptr;
    int64_t capacity = 0;  // slots, a multiple of 16
};

// One key-value head's share of an attention: `group` query heads for each of some new positions.
struct Attend {
    const float* q = nullptr;  // of the first new position; position i is `q_stride` further, its head h `dim` further
    float* out = nullptr;      // likewise, `out_stride` apart
    size_t q_stride = 0, out_stride = 0;
    const uint32_t* keys = nullptr;  // of this head
    const uint32_t* values = nullptr;
    Dtype dtype = Dtype::f32;
    int64_t capacity = 0;
    int64_t first = 0;   // position of the first query
    int queries = 1;     // positions
    int group = 1;       // query heads
    int dim = 0;
    int64_t window = 0;  // a query sees so many positions up to its own; 0 is all of them
    float scale = 1;
};

// A matrix as a checkpoint has it, `(out, in)`.
struct DenseMatrix {
    const void* weight = nullptr;
    Dtype dtype = Dtype::f32;
    int out = 0, in = 0;  // `in` a multiple of 32
};

// Rows of activations of a dense matrix's type, `stride` numbers apart.
struct DenseRows {
    const void* data = nullptr;
    size_t stride = 0;
    int rows = 0;
};

struct Kernels {
    const char* name;
    // One row of activations, clipped, to int8.
    void (*quantise)(const void* x, Dtype dtype, int width, const Range& range, int row, const Quantised& to);
    // Rows [row, row + rows) times up to `kPanel` blocks, as `Output`; scratch holds kPanelScratch floats.
    void (*product)(const Packed& w, const Quantised& x, int row, int rows, int block, int blocks, const Output& to,
                    float* scratch);
    // Outputs [first, first + count) of every row, at most kDenseOutputs of them, as `Output`.
    void (*dense)(const DenseMatrix& w, const DenseRows& x, const Output& to, int first, int count);
    // Groups of 32 weights to int4 and a half each; the same search as auricle/quant/int4.py, whose scales are not a
    // number where none of `divisors` gave a finite one.
    void (*pack_groups)(const float* x, int64_t groups, const float* divisors, int count, int8_t* q, uint16_t* scales);
    // One row of a packed table times `factor`.
    void (*unpack_row)(const uint8_t* weight, const void* scales, Bits bits, int width, int64_t row, float factor,
                       float* to);
    // to = ((add ? to : 0) + weight * x / rms(x)) * scale, rows of one type; no weight is all ones.
    void (*rms_norm)(const void* x, Dtype dtype, const float* weight, void* to, int width, float eps, bool add,
                     float scale);
    // to = weight * (x - mean(x)) / deviation(x) + bias; `to` may be x.
    void (*layer_norm)(const float* x, const float* weight, const float* bias, float* to, int width, float eps);
    void (*gelu_product)(const float* gate, const float* up, float* dst, int count);  // gelu(gate) * up, tanh form
    void (*silu_product)(const float* gate, const float* up, float* dst, int count);  // silu(gate) * up
    void (*rotate)(float* x, const float* cos, const float* sin, int dim);            // pairs (i, i + dim / 2)
    void (*convert)(const float* x, void* to, Dtype dtype, int count);
    void (*soft_cap)(float* x, float cap, int64_t count);  // cap * tanh(x / cap)
    float (*highest)(const float* x, int count);  // `count` a multiple of 16
    // What the queries take from positions [begin, end), causally: for each row (a position's head) its sums, then
    // every row's maximum, then every row's total.
    void (*attend)(const Attend& a, int64_t begin, int64_t end, float* part, uint32_t* scratch);
    // Puts `count` such parts together into `a.out`.
    void (*attend_merge)(const Attend& a, const float* parts, int count);
};

constexpr int kPanel = 4;        // blocks of a panel of the product
constexpr int kPanelRows = 256;  // rows of one
constexpr size_t kPanelScratch = static_cast<size_t>(kPanelRows) * kPanel * kLanes;
constexpr int kFewRows = 8;       // up to so many, weights are used as they stream by
constexpr int kDenseOutputs = 32;  // of a dense product: what a thread does at a time
constexpr int kKeyBlock = 64;     // keys that attention takes at a time
constexpr int kQueryRows = 256;  // query positions times heads of one call of attend, at most

inline size_t part_size(int rows, int dim) { return static_cast<size_t>(rows) * (round_up(dim, kLanes) + 2); }
inline size_t attend_scratch(int rows, int dim) { return static_cast<size_t>(rows) * (dim + 2 * kKeyBlock); }

const Kernels* kernels_avx512_bf16();
const Kernels* kernels_avx512();
const Kernels* kernels_avx2_vnni();
const Kernels* kernels_avx2();
const Kernels* kernels_neon();
const Kernels* kernels_portable();

// All that this processor runs, the best first.
std::vector<const Kernels*> runnable_kernels();

// The best that this processor runs; AURICLE_KERNELS names another. Throws std::invalid_argument if it can't run here.
const Kernels& kernels();

}  // namespace auricle
