// A decoder's forward pass, recorded once and run for every token and prompt: no allocation, no Python between two
// operations. `auricle/models/gemma4/program.py` records one, and `auricle/audiolm/model/program.py` another.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "kernels.hpp"
#include "team.hpp"

namespace auricle {

// What one item of a product computes: some rows times some blocks.
struct Piece {
    int row, rows, block, blocks;
};

// Columns [offset, ...) of a buffer.
struct Slice {
    int buffer = 0;
    int offset = 0;
};

// A new position: where it stands in its request, and that request's keys and values.
struct Row {
    int64_t position = 0;
    const Cache* caches = nullptr;  // by layer
};

// Neighbouring rows that are neighbouring positions of one request: they attend together. One alone is cut along its
// keys instead, whatever else is in the pass, so that a request computes the same in company as alone.
struct Stretch {
    int row = 0, rows = 1;
    int single = -1;  // its number among those of one row
};

// One pass: new positions of some requests.
struct Pass {
    int rows = 0;
    std::vector<Row> row = {};
    std::vector<int64_t> ids = {};  // of the tokens; negative where there is no text
    std::vector<Stretch> stretches = {};
    int singles = 0;
    int team = 1;  // threads: asked for once, so that all cut the work alike

    void clear();
    void add(const Row& next, int64_t id);
};

// One matrix of a product, and where its outputs go.
struct Product {
    Packed w;
    Slice to;
    const float* bias = nullptr;
};

// What a gated block does to its gates.
enum class Gate { gelu, silu };

// An embedding table of packed rows (auricle/quant/table.py): int8 with a float for each row, or int4 with a half for
// each group of 32, whose first 16 inputs are low nibbles and whose others are high ones.
struct Table {
    const uint8_t* weight = nullptr;
    const void* scales = nullptr;
    int rows = 0, width = 0;
    Bits bits = Bits::eight;
};

class Program {
  public:
    // Passes have at most `max_rows` positions, of which the logits of at most `max_wanted` are asked for.
    Program(int max_rows, int max_wanted);
    Program(const Program&) = delete;  // its operations point into its own buffers
    Program& operator=(const Program&) = delete;

    // A matrix of floats; `last` is one that only operations after `keep` touch, and has `max_wanted` rows.
    int buffer(int width, bool last = false);
    float* data(int buffer) { return buffers_[buffer].data.get(); }
    size_t stride(int buffer) const { return buffers_[buffer].stride; }
    int rows(int buffer) const { return buffers_[buffer].rows; }
    int width(int buffer) const { return buffers_[buffer].width; }
    int buffers() const { return static_cast<int>(buffers_.size()); }

    // The tokens' rows times `factor`. Without text, the row of `absent`, or if that is negative, what is there stays.
    void lookup(const Table& table, Slice to, float factor, int64_t absent);
    // With `add`, outputs are added to what is there.
    void linear(Slice from, const std::vector<Product>& products, bool add);
    // One dense matrix; inputs are rounded to its type, and outputs clipped, which makes a relu too. `to` is apart from
    // `from`.
    void dense(Slice from, const DenseMatrix& w, const float* bias, Slice to, const Range& range, bool add);
    // The gated block of a decoder layer: (gelu(x gate) * (x up)) down, or silu.
    void gated(Slice from, const Packed& gate, const Packed& up, const Packed& down, Slice to, Gate kind, bool add);
    void rms_norm(Slice from, Slice to, int width, int groups, const float* weight, float eps, bool add, float scale);
    void layer_norm(Slice from, Slice to, int width, const float* weight, const float* bias, float eps);
    void gelu_product(Slice gate, Slice up, Slice to, int width);
    // Cosines of each position's `half` angles, then their sines: (rows, 2 * half). The angles are position * inverse.
    void angles(Slice to, const float* inverse, int half);
    void rotate(Slice x, int heads, int dim, Slice angles);
    void store(Slice keys, Slice values, int kv_heads, int dim, int cache, Dtype dtype);
    void attend(Slice q, Slice to, int heads, int kv_heads, int dim, int cache, Dtype dtype, int64_t window,
                float scale);
    // From here on only the wanted rows count: they become the first of these buffers.
    void keep(const std::vector<int>& buffers);
    // The `count` highest of a row of logits, computed anew from the table: a head of few bits may have put them in the
    // wrong order.
    void rescore(Slice x, Slice logits, const Table& table, int count);
    void soft_cap(Slice x, int width, float cap);

    // Runs everything, or where no row is wanted only what stands before `keep`. `wanted` has a flag for each row.
    void run(const Pass& pass, const uint8_t* wanted);

  private:
    struct Buffer {
        std::unique_ptr<float[], void (*)(float*)> data;
        size_t stride;
        int rows, width;
    };
    struct Step {
        std::function<int(const Pass&)> items;
        std::function<void(const Pass&, int item, Scratch&)> run;
        bool last;
    };

    void add(std::function<int(const Pass&)> items, std::function<void(const Pass&, int, Scratch&)> run);
    float* at(Slice s, int row) { return buffers_[s.buffer].data.get() + row * buffers_[s.buffer].stride + s.offset; }
    // Where activations go on their way into a product: two places, since one product may make the next one's.
    struct Held {
        std::vector<int8_t> q;
        std::vector<float> scales;
        std::vector<int32_t> sums;
    };
    void reserve(Held& held, int groups);
    void quantise(Slice from, int width);
    void gated_panel(const Packed& gate, const Packed& up, const Piece& piece, int groups, Gate kind, Scratch& scratch);
    void gate_and_quantise(float* gates, const float* ups, int width, int row, int column, int groups, Gate kind);

    const int max_rows_, max_wanted_;
    const Kernels& k_;
    std::vector<Buffer> buffers_;
    std::vector<Step> steps_;
    bool last_ = false;
    Held inputs_, gated_;
    std::vector<uint16_t> rounded_;  // what a dense product in bfloat16 takes
    std::vector<float> gates_;  // of few rows: gates, then ups
    std::vector<float> parts_;  // of attention cut along its keys
    size_t single_parts_ = 0;   // how many of them one single takes
    Pass kept_;                 // the wanted rows
    std::vector<int> wanted_;   // which these were
};

// One product outside of a program: `(rows, width)`, clipped, times several matrices.
void linear(const void* x, Dtype dtype, int rows, int width, const Range& range,
            const std::vector<std::pair<Packed, Output>>& products);
// Weights to int4: see Kernels::pack_groups.
void pack_groups(const float* x, int64_t groups, const std::vector<float>& divisors, int8_t* q, uint16_t* scales);
// One norm outside of a program, of `(rows, width)`.
void rms_norm(const void* x, Dtype dtype, int rows, int width, const float* weight, float eps, void* to);

// The work of a product in panels, for `run_phases`.
int product_items(const Packed& w, int rows);
void product_item(const Packed& w, const Quantised& x, int rows, const Output& to, int item, Scratch& scratch);

}  // namespace auricle
